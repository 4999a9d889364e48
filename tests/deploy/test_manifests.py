"""The ways into a cluster without `helm install`: plain manifests, Kustomize, Flux and Argo CD, on a real API server.

There is no controller of Flux or Argo CD here: their objects are held against the definitions of their types, and the
values in them against the chart.
"""

import argparse
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import render
from deploy.local.api import ApiError
from deploy.local.cluster import Cluster
from deploy.local.kustomize import find_or_build
from model_provisioner.controller import command as operator
from model_provisioner.settings.operator import OperatorSettings
from tests.chart.installing import create, path_of
from tests.chart.rendering import Helm, Manifest, Rendering

ROOT = render.ROOT
OVERLAYS = ["deploy/kustomize/base", "deploy/kustomize/install", "deploy/kustomize/overlays/example"]


def build(kustomize: Path, directory: Path | str) -> Rendering:
    command = [str(kustomize), "build", str(directory)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stderr == "", "a warning, such as one about a deprecated field"
    return Rendering(tuple(yaml.safe_load_all(done.stdout)))


def test_the_manifests_are_made_of_the_chart(helm: Helm, kustomize: Path) -> None:
    """`python -m deploy.render` writes them anew. Versions of Kustomize break lines at different places."""
    for path, text in (render.base(helm.binary) | render.install(kustomize)).items():
        made, kept = (list(yaml.safe_load_all(one)) for one in (text, (ROOT / path).read_text()))
        assert made == kept, f"{path} differs: run `python -m deploy.render`, see git diff"


def test_the_plain_manifests_are_what_helm_installs(helm: Helm) -> None:
    plain = Rendering(tuple(yaml.safe_load_all((ROOT / render.INSTALL).read_text())))
    chart = helm.render("uninstall.releaseObjects=false", namespace="models")
    hooks = {one["kind"] for one in chart.manifests if "helm.sh/hook" in one["metadata"].get("annotations", {})}
    kinds = {one["kind"] for one in chart.manifests} - hooks
    assert {one["kind"] for one in plain.manifests} == kinds | {"Namespace", "CustomResourceDefinition"}
    assert [one for one in plain.manifests if "helm" in yaml.safe_dump(one["metadata"]).lower()] == []
    theirs, ours = (one.container("operator") for one in (chart, plain))
    assert {key: value for key, value in ours.items() if key not in {"args", "env"}} == {
        key: value for key, value in theirs.items() if key not in {"args", "env"}
    }
    assert resolved(ours["args"], "models") == theirs["args"]


@pytest.fixture
def overlay(kustomize: Path, cluster: Cluster, tmp_path: Path) -> Iterator[Rendering]:
    """The example overlay as a user would change it, for a namespace that no other test uses; applied."""
    name = f"overlay-{uuid.uuid4().hex[:8]}"
    cluster.create_namespace(name, {"pod-security.kubernetes.io/enforce": "restricted"})
    document = yaml.safe_load((ROOT / "deploy/kustomize/overlays/example/kustomization.yaml").read_text())
    document |= {"namespace": name, "resources": ["base"]}
    (tmp_path / "base").mkdir()
    for file in (ROOT / "deploy/kustomize/base").iterdir():
        (tmp_path / "base" / file.name).write_text(file.read_text())
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(document))
    built = build(kustomize, tmp_path)
    for manifest in built.manifests:
        if manifest["kind"] != "CustomResourceDefinition":
            create(cluster.api, manifest)
    yield built
    for role in built.kind("ClusterRole"):
        cluster.api.delete(path_of(cluster.api, role))


def test_an_overlay_moves_the_release_into_its_namespace(cluster: Cluster, overlay: Rendering) -> None:
    (claim,) = overlay.kind("PersistentVolumeClaim")
    namespace = claim["metadata"]["namespace"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "500Gi"
    wide = {"CustomResourceDefinition", "ClusterRole"}
    assert {m["metadata"].get("namespace") for m in overlay.manifests if m["kind"] not in wide} == {namespace}
    settings = operator_settings(overlay, namespace)
    assert settings.namespaces == [namespace]
    assert [(mount.namespace, mount.claim) for mount in settings.mounts] == [(namespace, "models")]
    assert (settings.lease_namespace, settings.slots) == (namespace, 8)
    assert {one["image"] for one in overlay.pod_template()["spec"]["containers"]} == {
        "registry.example.com/model-provisioner:0.1.0"
    }
    operator_of = cluster.as_service_account(namespace, "model-provisioner")
    assert operator_of.get(f"/apis/models.rbee.dev/v1alpha1/namespaces/{namespace}/modeldownloads")["items"] == []
    with pytest.raises(ApiError, match="cannot list resource"):
        operator_of.get("/apis/models.rbee.dev/v1alpha1/namespaces/default/modeldownloads")


def test_its_pod_runs_where_pod_security_is_restricted(cluster: Cluster, overlay: Rendering) -> None:
    template = overlay.pod_template()
    (claim,) = overlay.kind("PersistentVolumeClaim")
    metadata = {**template["metadata"], "name": "pod", "namespace": claim["metadata"]["namespace"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    assert create(cluster.api, pod)["metadata"]["name"] == "pod"


@pytest.mark.parametrize("directory", OVERLAYS)
def test_kustomize_builds_each_directory_without_a_warning(kustomize: Path, directory: str) -> None:
    assert len(build(kustomize, directory).manifests) > 10


def test_the_definition_of_the_base_is_the_charts() -> None:
    ours = yaml.safe_load((ROOT / render.BASE / "definition.yaml").read_text())
    assert ours == yaml.safe_load((ROOT / "crds" / "modeldownload.yaml").read_text())


EXAMPLES = ["deploy/flux/release.yaml", "deploy/argocd/application.yaml"]


@pytest.mark.parametrize("file", EXAMPLES)
def test_an_example_is_accepted_by_the_definitions_of_its_types(foreign: Cluster, namespace: str, file: str) -> None:
    documents = [one for one in yaml.safe_load_all((ROOT / file).read_text()) if one["kind"] != "Namespace"]
    for document in documents:
        document["metadata"]["namespace"] = namespace
        assert create(foreign.api, document)["kind"] == document["kind"]
    documents[-1]["spec"]["unknown"] = {}
    documents[-1]["metadata"]["name"] = "other"
    with pytest.raises(ApiError, match="unknown"):
        create(foreign.api, documents[-1])


def values_of(file: str) -> Manifest:
    last: dict[str, Any] = list(yaml.safe_load_all((ROOT / file).read_text()))[-1]["spec"]
    found: Manifest = last["values"] if "values" in last else last["source"]["helm"]["valuesObject"]
    return found


@pytest.mark.parametrize("file", EXAMPLES)
def test_its_values_are_values_of_the_chart(helm: Helm, tmp_path: Path, file: str) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values_of(file)))
    helm.run("lint", "--strict", ".", "--values", str(tmp_path / "values.yaml"))


def resolved(arguments: list[str], namespace: str) -> list[str]:
    """The arguments as the kubelet passes them on."""
    return [argument.replace("$(POD_NAMESPACE)", namespace) for argument in arguments]


def operator_settings(rendering: Rendering, namespace: str) -> OperatorSettings:
    container = rendering.container("operator")
    assert "POD_NAMESPACE" in [one["name"] for one in container["env"]]
    parser = argparse.ArgumentParser()
    operator.add_arguments(parser)
    parsed = parser.parse_args(resolved(container["args"], namespace)[1:])
    return OperatorSettings(**{key: value for key, value in vars(parsed).items() if value is not None})


def test_kustomize_is_taken_from_the_first_place_that_has_it(tmp_path: Path) -> None:
    cached = tmp_path / "model-provisioner" / "kustomize-v5.8.1" / "kustomize"
    for program in (tmp_path / "bin" / "kustomize", cached):
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    named, in_path = str(tmp_path / "bin" / "kustomize"), str(tmp_path / "bin")
    assert find_or_build({"KUSTOMIZE": named, "PATH": "/nowhere"}) == Path(named)
    assert find_or_build({"PATH": in_path}) == Path(named)
    assert find_or_build({"PATH": "/nowhere", "XDG_CACHE_HOME": str(tmp_path)}) == cached
