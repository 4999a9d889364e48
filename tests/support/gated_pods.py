"""Pods with our scheduling gate as objects of a real API server, without a kubelet and without a scheduler.

Called by the tests of the gates and by `benchmarks.gates`.
"""

from collections.abc import Mapping
from typing import Any

from deploy.local.api import Api
from model_provisioner.domain.annotations import GATE, GATE_LABEL, MODELS, USE

Document = dict[str, Any]

_PATCH = "application/json-patch+json"


class GatedPods:
    """The pods of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._path = f"/api/v1/namespaces/{namespace}/pods"

    def create(self, name: str, annotations: dict[str, str], claim: str = "models", **changes: Any) -> Document:
        """A pod that mounts `claim` at /models. `changes` replace fields of its spec."""
        return self._api.create(self._path, pod(name, annotations, claim, **changes))

    def waiting_for(self, name: str, *models: str, **changes: Any) -> Document:
        """A pod that waits for ModelDownloads by their names."""
        return self.create(name, {MODELS: ",".join(models)}, **changes)

    def using(self, name: str, *models: str, **changes: Any) -> Document:
        """A pod that waits for ModelDownloads by their names or refs."""
        return self.create(name, {USE: ", ".join(models)}, **changes)

    def get(self, name: str) -> Document:
        return self._api.get(f"{self._path}/{name}")

    def exists(self, name: str) -> bool:
        return self._api.exists(f"{self._path}/{name}")

    def gates(self, name: str) -> list[str]:
        return [gate["name"] for gate in self.get(name)["spec"].get("schedulingGates") or ()]

    def is_open(self, name: str) -> bool:
        return GATE not in self.gates(name)

    def annotations(self, name: str) -> dict[str, str]:
        """Those that the operator has written: `model-path-0` and so on."""
        found = self.get(name)["metadata"].get("annotations") or {}
        own = {key.partition("/")[2]: value for key, value in found.items()}
        return {key: value for key, value in own.items() if key.startswith("model-")}

    def patch(self, name: str, *operations: Mapping[str, object]) -> Document:
        return self._api.request("PATCH", f"{self._path}/{name}", list(operations), content_type=_PATCH)

    def annotate(self, name: str, annotations: dict[str, str | None]) -> None:
        self._api.merge(f"{self._path}/{name}", {"metadata": {"annotations": annotations}})

    def bind(self, name: str, node: str) -> None:
        """What the scheduler does."""
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        self._api.create(f"{self._path}/{name}/binding", body)

    def delete(self, name: str) -> None:
        self._api.request("DELETE", f"{self._path}/{name}", {"gracePeriodSeconds": 0})

    def events(self, name: str) -> dict[str, Document]:
        """The Events about a pod, by reason."""
        items = self._api.get(f"/api/v1/namespaces/{self._namespace}/events")["items"]
        own = [item for item in items if item["involvedObject"]["kind"] == "Pod"]
        return {item["reason"]: item for item in own if item["involvedObject"]["name"] == name}

    def told(self, name: str, reason: str) -> str:
        """The message of the Event with `reason`; empty if there is none."""
        return str(self.events(name).get(reason, {}).get("message", ""))


def pod(name: str, annotations: dict[str, str], claim: str = "models", **changes: Any) -> Document:
    """A pod with our label and our gate that mounts `claim` at /models."""
    container = {
        "name": "server",
        "image": "server",
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
    }
    spec = {
        "schedulingGates": [{"name": GATE}],
        "containers": [container],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": claim}}],
    }
    metadata = {"name": name, "labels": {GATE_LABEL: "true"}, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, **changes}}
