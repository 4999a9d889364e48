"""Pods with the annotation, as a user or a controller creates them, and what the API server makes of them."""

from dataclasses import dataclass
from typing import Any

from deploy.local.api import Api, Document
from tests.chart.rendering import Rendering

GATE = {"name": "models.rbee.dev/model"}
VOLUME = {"name": "models-rbee-dev", "persistentVolumeClaim": {"claimName": "models"}}
MOUNT = {"name": "models-rbee-dev", "mountPath": "/models", "readOnly": True}
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Served:
    """The namespaces of a release whose policies are installed: `home` has the claim, `other` is served too.

    `rendering` has all objects of the release. `before` is a Deployment in `home` with an empty annotation, from before
    the policies.
    """

    api: Api
    home: str
    other: str
    rendering: Rendering
    before: str = "before"

    def create(self, manifest: Document, namespace: str = "", *, dry_run: bool = False) -> Document:
        """Creates a pod in `home` or in `namespace`. Raises ApiError."""
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self.api.create(f"/api/v1/namespaces/{namespace or self.home}/pods{query}", manifest)


def pod(use: str | None = "tinyllama", *, annotations: dict[str, str] | None = None, **spec: Any) -> Document:
    """A pod that Pod Security `restricted` allows. `annotations` are those of models.rbee.dev, without the prefix."""
    asked = {**({} if use is None else {"use": use}), **(annotations or {})}
    metadata: Document = {"generateName": "pod-"}
    if asked:
        metadata["annotations"] = {f"models.rbee.dev/{key}": value for key, value in asked.items()}
    return {"metadata": metadata, "spec": {"containers": [container()], **spec}}


def container(name: str = "server", **fields: Any) -> Document:
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {"name": name, "image": "server:1", "securityContext": security, **fields}


def variable(name: str, annotation: str) -> Document:
    """A variable as the policy adds it."""
    path = f"metadata.annotations['models.rbee.dev/{annotation}']"
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


ONE_MODEL = [variable("MODEL_PATH", "model-path-0"), variable("MODEL_NAME", "model-name-0")]
"""The variables of a container for one model."""


def volumes(stored: Document) -> list[Document]:
    """The volumes of a pod, without that of the account's token."""
    return [one for one in stored["spec"].get("volumes", ()) if not one["name"].startswith("kube-api-access-")]


def mounts(stored: Document, name: str = "server") -> list[Document]:
    """The mounts of a container or an init container, without that of the account's token."""
    return [one for one in named(stored, name).get("volumeMounts", ()) if one["mountPath"] != TOKEN]


def env(stored: Document, name: str = "server") -> list[Document]:
    found: list[Document] = named(stored, name).get("env", [])
    return found


def named(stored: Document, name: str) -> Document:
    spec = stored["spec"]
    (found,) = [one for one in (*spec["containers"], *spec.get("initContainers", ())) if one["name"] == name]
    container: Document = found
    return container
