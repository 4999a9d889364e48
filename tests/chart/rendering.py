"""Runs Helm on the repository's root, which is the chart.

Called by the tests of this folder; knows nothing of a cluster.
"""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
NAMESPACE = "ai"

Manifest = dict[str, Any]
"""One Kubernetes object, parsed from YAML; the API server validates it."""


class HelmError(Exception):
    """Helm ended with a non-zero code; the text is what it wrote to standard error."""


@dataclass(frozen=True)
class Helm:
    """One Helm binary."""

    binary: Path

    def run(self, *arguments: str) -> str:
        """Runs Helm at the root of the repository; returns its standard output.

        Raises HelmError with Helm's message.
        """
        done = subprocess.run([self.binary, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise HelmError(done.stdout + done.stderr)
        return done.stdout

    def template(self, *settings: str, release: str = "model-provisioner", namespace: str = NAMESPACE) -> str:
        """The chart rendered with `--set-json` settings such as `slots=2`, as YAML text."""
        flags = [part for setting in settings for part in ("--set-json", setting)]
        return self.template_with(*flags, release=release, namespace=namespace)

    def template_with(self, *flags: str, release: str = "model-provisioner", namespace: str = NAMESPACE) -> str:
        """The chart rendered with flags of Helm. Helm 4 writes an empty line after each object, which is left out."""
        text = self.run("template", release, ".", "--namespace", namespace, *flags)
        return re.sub(r"\n(?: *\n)+(?=---|$)", "\n", text)

    def render(self, *settings: str, release: str = "model-provisioner", namespace: str = NAMESPACE) -> "Rendering":
        """The rendered chart, parsed. `settings` as for `template`."""
        documents = yaml.safe_load_all(self.template(*settings, release=release, namespace=namespace))
        return Rendering(tuple(document for document in documents if document))


@dataclass(frozen=True)
class Rendering:
    """The objects of one rendering."""

    manifests: tuple[Manifest, ...]

    def kind(self, kind: str) -> list[Manifest]:
        return [manifest for manifest in self.manifests if manifest["kind"] == kind]

    def one(self, kind: str, name: str) -> Manifest:
        """The only object of this kind and name; raises ValueError if there is none, or more than one."""
        (found,) = [manifest for manifest in self.kind(kind) if manifest["metadata"]["name"] == name]
        return found

    def pod_template(self, container: str = "operator") -> Manifest:
        """The template of the Deployment whose pod has this container."""
        templates = [deployment["spec"]["template"] for deployment in self.kind("Deployment")]
        (found,) = [one for one in templates if container in [each["name"] for each in one["spec"]["containers"]]]
        template: Manifest = found
        return template

    def container(self, name: str) -> Manifest:
        (found,) = [c for c in self.pod_template(name)["spec"]["containers"] if c["name"] == name]
        container: Manifest = found
        return container

    def volume(self, name: str) -> Manifest:
        (found,) = [v for v in self.pod_template()["spec"]["volumes"] if v["name"] == name]
        volume: Manifest = found
        return volume


def schema() -> Manifest:
    """The JSON schema of the values."""
    loaded: Manifest = json.loads((ROOT / "values.schema.json").read_text())
    return loaded
