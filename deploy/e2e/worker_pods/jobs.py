"""The Jobs and pods of workers as the cluster has them. Called by the steps of this scene."""

from deploy.e2e.commands import Document, until
from deploy.e2e.manifests import GROUP
from deploy.e2e.namespaces import Namespace

WORKERS = "--selector=app.kubernetes.io/name=model-provisioner-worker"


def job(team: Namespace) -> Document:
    """The Job of the worker of the team's claim; empty if there is none."""
    found = [one for one in team.kubectl.items("jobs", WORKERS) if "deletionTimestamp" not in one["metadata"]]
    return next((one for one in found if one["metadata"]["annotations"][f"{GROUP}/claim"] == team.claim), {})


def pod(team: Namespace) -> Document:
    """The pod of that Job, if it runs and is not being deleted; else empty."""
    owner = job(team).get("metadata", {}).get("uid")
    return next((one for one in team.kubectl.items("pods", WORKERS) if owner and _runs(one, owner)), {})


def running_pod(team: Namespace, other_than: str = "") -> str:
    """The uid of the pod of that Job, once there is one that runs, and is not `other_than`."""
    return until(lambda: _uid(team, other_than), f"a worker pod of claim {team.namespace}/{team.claim} runs")


def _uid(team: Namespace, other_than: str) -> str:
    uid = str(pod(team).get("metadata", {}).get("uid", ""))
    return "" if uid == other_than else uid


def _runs(found: Document, owner: str) -> bool:
    metadata = found["metadata"]
    owners = [one["uid"] for one in metadata.get("ownerReferences", [])]
    return owner in owners and "deletionTimestamp" not in metadata and found["status"].get("phase") == "Running"
