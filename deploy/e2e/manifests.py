"""The objects that the run makes besides the chart's: namespaces, volumes, pods. Called by `namespaces` and steps."""

from deploy.e2e.commands import Document

GROUP = "models.rbee.dev"
DEFINITION = f"modeldownloads.{GROUP}"
VOLUME_OF = f"{GROUP}/e2e"
"""A label of each volume: its namespace."""
USER = 10001
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


def disk(image: str, size: int) -> Document:
    """A pod whose emptyDir is a file system of `size` bytes in memory. Any user can write there, as on a new volume."""
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
        "volumes": [{"name": "disk", "emptyDir": {"medium": "Memory", "sizeLimit": str(size)}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "disk"}, "spec": spec}


def persistent_volume(pod: Document, kubelet_root: str, size: int, claim: str = "models", folder: str = "") -> Document:
    """The emptyDir of the pod `disk` as a local volume of its node, for a claim of its namespace.

    `folder` is a directory in it, if the volume is not all of it. `size` is in bytes.
    """
    uid, place = pod["metadata"]["uid"], pod["metadata"]["namespace"]
    path = f"{kubelet_root}/pods/{uid}/volumes/kubernetes.io~empty-dir/disk"
    hostname = {"key": "kubernetes.io/hostname", "operator": "In", "values": [pod["spec"]["nodeName"]]}
    spec = {
        "capacity": {"storage": str(size)},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
        "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": place, "name": claim},
        "local": {"path": f"{path}/{folder}".rstrip("/")},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}},
    }
    metadata = {"name": f"{place}-{claim}", "labels": {VOLUME_OF: place}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}


def claim(name: str, size: int) -> Document:
    """The claim of a volume that was made for it."""
    requests = {"requests": {"storage": str(size)}}
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": requests}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


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


def impostor(job: Document, other: str) -> Document:
    """A pod with the Secret of the worker pod of `job`, which says that it is that of another Job, NAMESPACE/NAME."""
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    arguments = [f"--job={other}" if one.startswith("--job=") else one for one in container["args"]]
    volumes = [one if one["name"] != "models" else {"name": "models", "emptyDir": {}} for one in spec["volumes"]]
    spec = {**spec, "containers": [{**container, "args": arguments}], "volumes": volumes}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "impostor"}, "spec": spec}
