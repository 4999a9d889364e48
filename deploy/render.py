"""Makes the manifests for clusters without Helm: `python -m deploy.render` writes them, a test compares them.

`deploy/kustomize/base` is the chart with its defaults, without hooks and without what only Helm needs.
`deploy/install.yaml` is the overlay `deploy/kustomize/install`, built. Kustomize does not change a namespace that is
part of an argument, so the arguments name the pod's own (`$(POD_NAMESPACE)`, which the kubelet fills in).
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from deploy.local.helm import find_or_build as find_helm
from deploy.local.kustomize import find_or_build as find_kustomize

ROOT = Path(__file__).parents[1]
BASE = Path("deploy/kustomize/base")
INSTALL = Path("deploy/install.yaml")

_NAMESPACE = "models"
_RELEASE = "model-provisioner"
_HEAD = "# Made of the chart by `python -m deploy.render`. Do not change it: change the chart, or an overlay.\n"
_OF_HELM = frozenset({"helm.sh/chart", "app.kubernetes.io/managed-by", "helm.sh/resource-policy"})
_POD_NAMESPACE = {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}


def base(helm: Path) -> dict[Path, str]:
    """The files of the base, by their paths in the repository."""
    settings = ("--set", "uninstall.releaseObjects=false")
    command = [helm, "template", _RELEASE, ".", "--namespace", _NAMESPACE, "--no-hooks", *settings]
    rendered = _run(command)
    objects = [_plain(one) for one in yaml.safe_load_all(rendered) if one]
    definition = (ROOT / "crds" / "modeldownload.yaml").read_text()
    return {
        BASE / "definition.yaml": _HEAD + definition,
        BASE / "release.yaml": _HEAD + _dump(objects),
    }


def install(kustomize: Path) -> dict[Path, str]:
    """`deploy/install.yaml`, from the base as it is on the disk."""
    return {INSTALL: _HEAD + _run([kustomize, "build", "deploy/kustomize/install"])}


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    """The object without what only Helm reads, in no particular namespace."""
    for metadata in _metadata(document):
        for kind in ("labels", "annotations"):
            left = {key: value for key, value in metadata.get(kind, {}).items() if key not in _OF_HELM}
            metadata[kind] = left
            if not left:
                del metadata[kind]
    document["metadata"].pop("namespace", None)
    for subject in document.get("subjects", ()):
        del subject["namespace"]
    if document["kind"] == "Deployment":
        for container in document["spec"]["template"]["spec"]["containers"]:
            container["args"] = [_argument(one) for one in container["args"]]
            container["env"] = [*container.get("env", ()), _POD_NAMESPACE]
    return document


def _metadata(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield document["metadata"]
    template: Mapping[str, Any] = (
        document.get("spec", {}).get("template", {}) if document["kind"] == "Deployment" else {}
    )
    if template:
        yield template["metadata"]


def _argument(text: str) -> str:
    """The argument with the pod's own namespace in the place of ours: `--x=models`, or `--store=models/CLAIM=DIR`."""
    flag, _, value = text.partition("=")
    namespace, slash, rest = value.partition("/")
    return f"{flag}=$(POD_NAMESPACE){slash}{rest}" if namespace == _NAMESPACE else text


def _dump(documents: list[dict[str, Any]]) -> str:
    return yaml.safe_dump_all(documents, width=120, sort_keys=False)


def _run(command: list[Any]) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def main() -> None:
    _write(base(find_helm(out=sys.stderr)))
    _write(install(find_kustomize(out=sys.stderr)))


def _write(made: Mapping[Path, str]) -> None:
    for path, text in made.items():
        (ROOT / path).write_text(text)


if __name__ == "__main__":
    main()
