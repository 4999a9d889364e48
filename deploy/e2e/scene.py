"""What the steps share: the hub, the namespace with its volume, the release. Called by the steps and `__main__`.

The volume is the memory-backed emptyDir of a pod, `disk`, found by the kubelet's path of it. So it has a size that is
enforced, needs no right on the node and no storage class, and is gone with its pod.
"""

import contextlib
import hashlib
import json
import socket
import uuid
from collections.abc import Callable
from pathlib import Path

from deploy.e2e.commands import PATIENCE, Document, Failed, Kubectl, run, until
from deploy.e2e.settings import Settings
from tests.support.ggufs import write_gguf
from tests.support.hub import Hub, Repository

RELEASE = "model-provisioner"
GROUP = "models.rbee.dev"
DEFINITION = f"modeldownloads.{GROUP}"
FINALIZER = f"{GROUP}/operator"
MIB = 1024**2
DISK_BYTES = 384 * MIB
USER = 10001


class Scene:
    """One run. `helm` is the program, `directory` is for its files."""

    def __init__(self, settings: Settings, helm: Path, hub: Hub, directory: Path) -> None:
        self.settings = settings
        self.hub = hub
        self.directory = directory
        self.namespace = f"e2e-{uuid.uuid4().hex[:6]}"
        self.kubectl = Kubectl(self.namespace)
        self.defined_before = bool(self.kubectl.get("customresourcedefinition", DEFINITION))
        self._helm = helm

    def helm(self, command: str, *arguments: str, stdin: str | None = None) -> str:
        return run(str(self._helm), command, "--namespace", self.namespace, *arguments, stdin=stdin, seconds=360)

    def publish(self, name: str, size: int, *, private: bool = False, tokens: frozenset[str] = frozenset()) -> "Model":
        """Puts a model of about `size` bytes into the hub, as hf:e2e/NAME."""
        file = write_gguf(self.directory / f"{name}.gguf", size=size, seed=len(name), vocabulary=1000)
        return self.publish_file(name, file, private=private, tokens=tokens)

    def publish_file(
        self, name: str, file: Path, *, private: bool = False, tokens: frozenset[str] = frozenset()
    ) -> "Model":
        """Puts a file into the hub, as hf:e2e/NAME."""
        repository = self.hub.repository(f"e2e/{name}", private=private, tokens=tokens)
        repository.add(f"{name}.Q4_K_M.gguf", file)
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        return Model(name, file.stat().st_size, digest, repository)

    def ask_for(self, model: "Model", **spec: object) -> None:
        """Applies the ModelDownload NAME."""
        document = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "ModelDownload", "metadata": {"name": model.name}}
        self.kubectl.apply({**document, "spec": {"modelRef": f"hf:e2e/{model.name}", **spec}})

    def until_ready(self, model: "Model", seconds: float = PATIENCE) -> Document:
        """The object, once it is Ready."""
        return self.until_reason(model, "Available", seconds)

    def until_reason(self, model: "Model", reason: str, seconds: float = PATIENCE) -> Document:
        """The object, once its Ready condition has `reason`. Raises Failed with the last reason."""
        try:
            return until(lambda: self._with_reason(model, reason), f"{model.name} is {reason}", seconds)
        except Failed as failed:
            raise Failed(f"{failed}; it is {condition(self._object(model))}") from None

    def _object(self, model: "Model") -> Document:
        return self.kubectl.get(DEFINITION, model.name)

    def _with_reason(self, model: "Model", reason: str) -> Document | None:
        found = self._object(model)
        return found if condition(found).get("reason") == reason else None

    def has_bytes(self, model: "Model", least: int) -> bool:
        """Whether the status says that so many bytes are there."""
        progress = self._object(model).get("status", {}).get("progress", {})
        return bool(int(progress.get("bytes", 0)) >= least)

    def remove(self, model: "Model") -> None:
        """Deletes the object and its file."""
        change = json.dumps({"spec": {"reclaimPolicy": "Delete"}})
        self.kubectl("patch", DEFINITION, model.name, "--type=merge", "-p", change)
        self.kubectl("delete", DEFINITION, model.name)

    def operator_pod(self) -> Document:
        """The pod of the release that is not being deleted; empty if there is none."""
        pods = self.kubectl.items("pods", f"--selector=app.kubernetes.io/name={RELEASE}")
        return next((pod for pod in pods if "deletionTimestamp" not in pod["metadata"]), {})

    def until_rolled_out(self, seconds: float = PATIENCE) -> None:
        timeout = f"--timeout={seconds:.0f}s"
        self.kubectl("rollout", "status", f"deployment/{RELEASE}", timeout, seconds=seconds + 10)

    def on_disk(self, *command: str) -> str:
        """Runs a command in the pod that has the volume, at /disk."""
        return self.kubectl("exec", "disk", "--", *command)

    def clean_up(self) -> None:
        """Removes all that this run has left, also after a step that failed. Prints what could not be removed."""
        release = ("uninstall", RELEASE, "--no-hooks", "--ignore-not-found")
        self._try(lambda: self.helm(*release))
        self._try(self._let_go)
        self._try(lambda: self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found"))
        self._try(lambda: self.kubectl("delete", "persistentvolume", self.namespace, "--ignore-not-found"))
        if not self.defined_before:
            self._try(lambda: self.kubectl("delete", "customresourcedefinition", DEFINITION, "--ignore-not-found"))

    def _let_go(self) -> None:
        """Takes the finalizers off the objects, whose operator is gone."""
        if self.kubectl.get("customresourcedefinition", DEFINITION):
            for item in self.kubectl.items(DEFINITION):
                change = '{"metadata": {"finalizers": null}}'
                self.kubectl("patch", DEFINITION, item["metadata"]["name"], "--type=merge", "-p", change)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Failed as failed:
            print(f"clean-up: {failed}", flush=True)


class Model:
    """A model in the hub. `size` is in bytes."""

    def __init__(self, name: str, size: int, digest: str, repository: Repository) -> None:
        self.name = name
        self.size = size
        self.digest = digest
        self.repository = repository
        self.file = f"{name}.Q4_K_M.gguf"
        self.path = f"hf/e2e/{name}/{self.file}"


def condition(found: Document) -> Document:
    """The Ready condition of an object; empty if there is none."""
    conditions: list[Document] = found.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == "Ready"), {})


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
