"""The objects that the run makes besides the chart's: namespace, volume, worker. Called by `steps`."""

from deploy.e2e.commands import Document
from deploy.e2e.scene import DISK_BYTES, USER

_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_WORK = """
import os
with open(os.environ["MODEL"], "rb") as model:
    print(model.read(4).decode(), os.environ["MODEL"])
"""


def namespace(name: str) -> Document:
    """A namespace that admits only pods of the `restricted` Pod Security Standard."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def disk(image: str) -> Document:
    """A pod whose emptyDir is a file system of DISK_BYTES in memory. Any user can write there, as on a fresh volume."""
    container = {
        "name": "disk",
        "image": image,
        "command": ["python", "-c", "import time; time.sleep(86400)"],
        "securityContext": _CONTAINER,
        "volumeMounts": [{"name": "disk", "mountPath": "/disk"}],
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "securityContext": pod_security(USER),
        "containers": [container],
        "volumes": [{"name": "disk", "emptyDir": {"medium": "Memory", "sizeLimit": DISK_BYTES}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "disk"}, "spec": spec}


def persistent_volume(name: str, pod: Document, kubelet_root: str) -> Document:
    """The emptyDir of the pod `disk` as a local volume of its node, for the claim `models` of its namespace."""
    uid, place = pod["metadata"]["uid"], pod["metadata"]["namespace"]
    path = f"{kubelet_root}/pods/{uid}/volumes/kubernetes.io~empty-dir/disk"
    hostname = {"key": "kubernetes.io/hostname", "operator": "In", "values": [pod["spec"]["nodeName"]]}
    spec = {
        "capacity": {"storage": DISK_BYTES},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": place, "name": "models"},
        "local": {"path": path},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


def worker(image: str, model: str) -> Document:
    """A pod that reads the header of a model whose path the catalog has, as docs/modeldownload.md shows."""
    path = {"configMapKeyRef": {"name": "model-catalog", "key": f"{model}.path"}}
    container = {
        "name": "worker",
        "image": image,
        "command": ["python", "-c", _WORK],
        "env": [{"name": "MODEL_PATH", "valueFrom": path}, {"name": "MODEL", "value": "/models/$(MODEL_PATH)"}],
        "securityContext": _CONTAINER,
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": pod_security(20000),
        "containers": [container],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "worker"}, "spec": spec}


def engine(image: str, model: str) -> Document:
    """A pod of llama.cpp's server whose annotation is all that it says about its model, as docs/workers.md shows.

    `model` is the name of a ModelDownload.
    """
    flags = ["--host", "0.0.0.0", "--port", "8080", "--ctx-size", "512", "--threads", "1"]
    container = {
        "name": "engine",
        "image": image,
        "args": [*flags, "--model", "$(MODEL_PATH)"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 1},
        "securityContext": _CONTAINER,
    }
    spec = {
        "terminationGracePeriodSeconds": 5,
        "automountServiceAccountToken": False,
        "securityContext": pod_security(20000),
        "containers": [container],
    }
    metadata = {"name": "engine", "annotations": {"models.rbee.dev/use": model}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def pod_security(user: int) -> Document:
    profile = {"type": "RuntimeDefault"}
    return {"runAsNonRoot": True, "runAsUser": user, "runAsGroup": user, "seccompProfile": profile}
