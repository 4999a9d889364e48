"""What the steps share: the hub, the namespace of the release, the release. Called by the steps and `__main__`."""

import contextlib
import json
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from deploy.e2e.commands import PATIENCE, Document, Failed, Kubectl, run
from deploy.e2e.manifests import DEFINITION
from deploy.e2e.models import Model, publish
from deploy.e2e.namespaces import Namespace
from deploy.e2e.settings import Settings
from tests.support.ggufs import write_gguf
from tests.support.hub import Hub

RELEASE = "model-provisioner"
MIB = 1024**2
READY_GOAL = 15.0  # seconds from `helm install` to a ready pod, with the image on the node


class Scene(Namespace):
    """One release, and the namespace that it is in. `helm` is the program, `directory` is for the scene's files.

    `teams` are further namespaces that it serves, by the letters that they end with.
    """

    def __init__(self, settings: Settings, helm: Path, hub: Hub, directory: Path, teams: str = "") -> None:
        super().__init__(f"e2e-{uuid.uuid4().hex[:6]}")
        self.settings = settings
        self.hub = hub
        self.directory = directory
        self.teams = [Namespace(f"{self.namespace}-{letter}", claim="models") for letter in teams]
        self._helm = helm

    @property
    def namespaces(self) -> list[Namespace]:
        return [self, *self.teams]

    def helm(self, command: str, *arguments: str, stdin: str | None = None) -> str:
        return run(str(self._helm), command, "--namespace", self.namespace, *arguments, stdin=stdin, seconds=360)

    def publish(self, name: str, size: int, *, private: bool = False, tokens: frozenset[str] = frozenset()) -> Model:
        """Puts a model of about `size` bytes into the hub, as hf:e2e/NAME."""
        file = write_gguf(self.directory / f"{name}.gguf", size=size, seed=len(name), vocabulary=1000)
        return publish(self.hub, name, file, private=private, tokens=tokens)

    def install(self, values: Document) -> str:
        """Installs the release with the image, the hub as the only source, and `values`. Says how long it took."""
        self.kubectl("create", "secret", "generic", "hub-ca", f"--from-file=ca.crt={self.hub.ca_file}")
        begun = time.monotonic()
        self.helm("install", RELEASE, ".", "--values", "-", stdin=json.dumps({**self._values(), **values}))
        installed = time.monotonic() - begun
        self.until_rolled_out()
        took = time.monotonic() - begun
        goal = f"{'within' if took <= READY_GOAL else 'more than'} the {READY_GOAL:.0f} s wanted"
        return f"the pod is Ready {took:.1f} s after the start of Helm, {goal}; Helm took {installed:.1f} s of them"

    def _values(self) -> Document:
        hosts = [origin.removeprefix("https://") for origin in (self.hub.endpoint, self.hub.content_origin)]
        return {
            "image": {"repository": self.settings.repository, "tag": self.settings.tag},
            "endpoints": {"hf": self.hub.endpoint},
            "allowedHosts": hosts,
            "caSecret": {"name": "hub-ca"},
        }

    def operator_pod(self) -> Document:
        """The pod of the release that is not being deleted; empty if there is none."""
        pods = self.kubectl.items("pods", f"--selector=app.kubernetes.io/name={RELEASE}")
        return next((pod for pod in pods if "deletionTimestamp" not in pod["metadata"]), {})

    def until_rolled_out(self, seconds: float = PATIENCE) -> None:
        timeout = f"--timeout={seconds:.0f}s"
        self.kubectl("rollout", "status", f"deployment/{RELEASE}", timeout, seconds=seconds + 10)

    def clean_up(self) -> None:
        """Removes all that this scene has left, also after a step that failed. Prints what could not be removed."""
        release = ("uninstall", RELEASE, "--no-hooks", "--ignore-not-found")
        attempt(lambda: self.helm(*release))
        for one in self.namespaces:
            attempt(one.let_go)
            attempt(one.begin_deletion)
        for one in self.namespaces:
            attempt(one.delete)


def attempt(act: Callable[[], object]) -> None:
    """Calls `act` for the clean-up, and prints its failure."""
    try:
        act()
    except Failed as failed:
        print(f"clean-up: {failed}", flush=True)


def is_defined() -> bool:
    """Whether the cluster has the definition of ModelDownloads."""
    return bool(Kubectl("default").get("customresourcedefinition", DEFINITION))


def remove_definition() -> None:
    Kubectl("default")("delete", "customresourcedefinition", DEFINITION, "--ignore-not-found")


def address_towards_the_node() -> str:
    """The address of this machine from which it reaches a node. Raises Failed if no node has an internal address."""
    nodes = Kubectl("default").items("nodes")
    addresses = [one["address"] for node in nodes for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
    if not addresses:
        raise Failed("no node has an InternalIP: set HUB_ADDRESS")
    family = socket.AF_INET6 if ":" in addresses[0] else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_DGRAM)) as probe:
        probe.connect((addresses[0], 9))  # sends nothing: the kernel chooses the address
        return str(probe.getsockname()[0])
