"""The settings of `make e2e`, from environment variables. Called by `__main__` and printed by `--help`."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

USAGE = """\
variables:
  KUBECONFIG   the cluster; required
  IMAGE        the tag of the image, not `latest` (model-provisioner:e2e)
  IMAGE_BUILD  command that builds {image} from the repository's root; empty: it is there
               (docker build -f deploy/Dockerfile -t {image} .)
  IMAGE_LOAD   command that brings {image} to the nodes; empty: they have it, or pull it
               (kind load docker-image {image})
  HUB_ADDRESS  an address of this machine that pods can reach (the one from which this machine reaches the node)
  KUBELET_ROOT the kubelet's --root-dir on the nodes (/var/lib/kubelet)
"""


class Unusable(Exception):
    """The settings can't be used. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`build` and `load` are shell commands, empty ones are left out. `hub_address` is empty if it is to be found."""

    image: str
    build: str
    load: str
    hub_address: str
    kubelet_root: str

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
    image = environment.get("IMAGE") or "model-provisioner:e2e"
    if ":" not in image.rpartition("/")[2]:
        raise Unusable(f"IMAGE is {image}, which has no tag: add one, such as :e2e")
    build = environment.get("IMAGE_BUILD", "docker build -f deploy/Dockerfile -t {image} .")
    load = environment.get("IMAGE_LOAD", "kind load docker-image {image}")
    return Settings(
        image,
        build.replace("{image}", image),
        load.replace("{image}", image),
        environment.get("HUB_ADDRESS", ""),
        environment.get("KUBELET_ROOT") or "/var/lib/kubelet",
    )
