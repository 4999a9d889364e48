"""The settings of `make e2e`, from environment variables. Called by `__main__` and printed by `--help`."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

USAGE = """\
variables:
  KUBECONFIG   the cluster, of Kubernetes 1.36 or later; required. The chart's injection.enabled, which this run
               switches on, needs that version, and Helm refuses an older cluster in the step `helm install`
  IMAGE        the tag of the image, not `latest` (model-provisioner:e2e)
  IMAGE_BUILD  command that builds {image} from the repository's root; empty: it is there
               (docker build -f deploy/Dockerfile -t {image} .)
  IMAGE_LOAD   command that brings {image} to the nodes; empty: they have it, or pull it
               (kind load docker-image {image})
  ENGINE_IMAGE the tag of an image whose entry point is llama.cpp's server (llama-server:e2e)
  ENGINE_BUILD command that builds {image} of the files in the directory {root}; empty: it is there
               (docker build -f deploy/e2e/engine.Dockerfile -t {image} {root})
  ENGINE_LOAD  command that brings {image} to the nodes; empty: they have it, or pull it
               (kind load docker-image {image})
  HUB_ADDRESS  an address of this machine that pods can reach (the one from which this machine reaches the node)
  KUBELET_ROOT the kubelet's --root-dir on the nodes (/var/lib/kubelet)
  KUBELET_RESTART  command that restarts the kubelet of the only node; empty, the default: that step is not run
"""


class Unusable(Exception):
    """The settings can't be used. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`build` and `load` are shell commands, empty ones are left out. `hub_address` is empty if it is to be found.

    `engine_build` has `{root}` for the directory with the engine, which is not made before it is needed.
    """

    image: str
    build: str
    load: str
    engine_image: str
    engine_build: str
    engine_load: str
    hub_address: str
    kubelet_root: str
    kubelet_restart: str

    @property
    def repository(self) -> str:
        return self.image.rpartition(":")[0]

    @property
    def tag(self) -> str:
        return self.image.rpartition(":")[2]


def read(environment: Mapping[str, str] = os.environ) -> Settings:
    """Raises Unusable if a setting or `kubectl` is missing."""
    if not environment.get("KUBECONFIG"):
        raise Unusable("set KUBECONFIG to a cluster whose pods can reach this machine")
    if not shutil.which("kubectl", path=environment.get("PATH")):
        raise Unusable("kubectl is not in PATH")
    image = _image(environment, "IMAGE", "model-provisioner:e2e")
    engine = _image(environment, "ENGINE_IMAGE", "llama-server:e2e")
    engine_build = environment.get("ENGINE_BUILD", "docker build -f deploy/e2e/engine.Dockerfile -t {image} {root}")
    engine_load = environment.get("ENGINE_LOAD", "kind load docker-image {image}")
    build = environment.get("IMAGE_BUILD", "docker build -f deploy/Dockerfile -t {image} .")
    load = environment.get("IMAGE_LOAD", "kind load docker-image {image}")
    return Settings(
        image,
        build.replace("{image}", image),
        load.replace("{image}", image),
        engine,
        engine_build.replace("{image}", engine),
        engine_load.replace("{image}", engine),
        environment.get("HUB_ADDRESS", ""),
        environment.get("KUBELET_ROOT") or "/var/lib/kubelet",
        environment.get("KUBELET_RESTART", ""),
    )


def _image(environment: Mapping[str, str], name: str, default: str) -> str:
    image = environment.get(name) or default
    if ":" not in image.rpartition("/")[2]:
        raise Unusable(f"{name} is {image}, which has no tag: add one, such as :e2e")
    return image
