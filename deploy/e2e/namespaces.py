"""A namespace of the run: its volume, its ModelDownloads, and what is on the volume. Called by `scene` and the steps.

The volume is the memory-backed emptyDir of a pod, `disk`, found by the kubelet's path of it. So it has a size that is
enforced, needs no right on the node and no storage class, and is gone with its pod.
"""

import json

from deploy.e2e import manifests
from deploy.e2e.commands import PATIENCE, Document, Failed, Kubectl, check, until
from deploy.e2e.manifests import DEFINITION, GROUP
from deploy.e2e.models import Model, condition


class Namespace:
    """`name` is that of the namespace, which `make` creates. Its objects name `claim`, unless that is empty."""

    def __init__(self, name: str, claim: str = "") -> None:
        self.namespace = name
        self.claim = claim
        self.kubectl = Kubectl(name)

    def make(self) -> None:
        """Creates the namespace, and returns when it admits pods."""
        self.kubectl.apply(manifests.namespace(self.namespace))
        until(lambda: self.kubectl.get("serviceaccount", "default"), f"namespace {self.namespace} has its account")

    def make_volume(self, image: str, kubelet_root: str, size: int) -> str:
        """Creates a volume of `size` bytes for the claim `models`. Returns the name of its node."""
        self.kubectl.apply(manifests.disk(image, size))
        self.kubectl("wait", "pod/disk", "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s", seconds=PATIENCE + 10)
        pod = self.kubectl.get("pod", "disk")
        self.kubectl.apply(manifests.persistent_volume(pod, kubelet_root, size))
        return str(pod["spec"]["nodeName"])

    def ask_for(self, model: Model, **spec: object) -> None:
        """Applies the ModelDownload NAME."""
        document = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "ModelDownload", "metadata": {"name": model.name}}
        destination = {"destination": {"claimName": self.claim}} if self.claim else {}
        self.kubectl.apply({**document, "spec": {"modelRef": f"hf:e2e/{model.name}", **destination, **spec}})

    def until_ready(self, model: Model, seconds: float = PATIENCE) -> Document:
        """The object, once it is Ready."""
        return self.until_reason(model, "Available", seconds)

    def until_reason(self, model: Model, reason: str, seconds: float = PATIENCE) -> Document:
        """The object, once its Ready condition has `reason`. Raises Failed with the last reason."""
        try:
            return until(lambda: self._with_reason(model, reason), f"{model.name} is {reason}", seconds)
        except Failed as failed:
            raise Failed(f"{failed}; it is {condition(self._object(model))}") from None

    def _object(self, model: Model) -> Document:
        return self.kubectl.get(DEFINITION, model.name)

    def _with_reason(self, model: Model, reason: str) -> Document | None:
        found = self._object(model)
        return found if condition(found).get("reason") == reason else None

    def has_bytes(self, model: Model, least: int) -> bool:
        """Whether the status says that so many bytes are there."""
        progress = self._object(model).get("status", {}).get("progress", {})
        return bool(int(progress.get("bytes", 0)) >= least)

    def remove(self, model: Model) -> None:
        """Deletes the object and its file."""
        change = json.dumps({"spec": {"reclaimPolicy": "Delete"}})
        self.kubectl("patch", DEFINITION, model.name, "--type=merge", "-p", change)
        self.kubectl("delete", DEFINITION, model.name)

    def on_disk(self, *command: str) -> str:
        """Runs a command in the pod that has the volume, at /disk."""
        return self.kubectl("exec", "disk", "--", *command)

    def check_on_disk(self, model: Model) -> None:
        """Raises Failed unless the volume has the model as the hub has it."""
        digest = self.on_disk("sha256sum", f"/disk/{model.path}").split()[0]
        check(digest == model.digest, f"{model.path} has the digest {digest}, not {model.digest}")

    def let_go(self) -> None:
        """Takes the finalizers off the objects, whose operator is gone."""
        if self.kubectl.get("customresourcedefinition", DEFINITION):
            for item in self.kubectl.items(DEFINITION):
                change = '{"metadata": {"finalizers": null}}'
                self.kubectl("patch", DEFINITION, item["metadata"]["name"], "--type=merge", "-p", change)

    def begin_deletion(self) -> None:
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found", "--wait=false")

    def delete(self) -> None:
        """Deletes the namespace, and its volumes after it."""
        self.kubectl("delete", "namespace", self.namespace, "--ignore-not-found")
        self.kubectl("delete", "persistentvolume", f"--selector={manifests.VOLUME_OF}={self.namespace}")
