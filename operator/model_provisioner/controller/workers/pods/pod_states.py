"""What the statuses of a Job and its pods mean for the object that waits, with the words of the kubelet. Pure.

`job_client` reads the documents, `claim_pod` acts on the state. The texts come from the cluster and may be written by
anyone who may write Events or statuses there, so they are shortened and shown on one line.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

_SHOWN = 400  # characters of a message of the cluster
_NO_DISRUPTION = "was deleted"

Document = Mapping[str, Any]


class Phase(Enum):
    """`REFUSED`: the API server admits no pod. `ENDED`: there is none any more, or it has ended."""

    PENDING = auto()
    RUNNING = auto()
    REFUSED = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class PodState:
    """`message` is a clause about the worker pod."""

    phase: Phase
    message: str


def state_of(job: Document | None, pods: Sequence[Document], events: Iterable[Document]) -> PodState:
    """The state of the pod of `job`, which is None if it was deleted. `events` are those about the Job."""
    if pods:
        return _of_pod(max(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", ""))))
    if job is None:
        return PodState(Phase.ENDED, "its Job was deleted")
    if failed := _condition(job, "Failed") or _condition(job, "FailureTarget"):
        return PodState(Phase.ENDED, _joined("its Job has failed", failed.get("reason"), failed.get("message")))
    if "deletionTimestamp" in job["metadata"]:
        return PodState(Phase.ENDED, "its Job is being deleted")
    refusals = [event for event in events if event.get("reason") == "FailedCreate"]
    if refusals:
        last = max(refusals, key=lambda event: int(event["metadata"].get("resourceVersion", 0)))
        return PodState(Phase.REFUSED, _shown(last.get("message")) or "the API server refuses it")
    return PodState(Phase.PENDING, "the Job controller has not made it yet")


def is_alive(pod: Document) -> bool:
    """Whether processes of `pod` may still run."""
    return (pod.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}


def _of_pod(pod: Document) -> PodState:
    status = pod.get("status") or {}
    phase = status.get("phase")
    if phase in {"Succeeded", "Failed"}:
        return PodState(Phase.ENDED, _end(pod, status))
    if "deletionTimestamp" in pod["metadata"]:
        return PodState(Phase.ENDED, _end(pod, status, _NO_DISRUPTION))
    node = _shown((pod.get("spec") or {}).get("nodeName"))
    if phase == "Running":
        return PodState(Phase.RUNNING, f"it runs on node {node} and has not connected")
    if phase == "Unknown":
        lost = _joined(f"node {node} does not tell what became of it", status.get("reason"), status.get("message"))
        return PodState(Phase.RUNNING, lost)
    return PodState(Phase.PENDING, _pending(status, node))


def _pending(status: Document, node: str) -> str:
    scheduled = _condition({"status": status}, "PodScheduled", "False")
    if scheduled:
        return _joined("no node can run it", scheduled.get("reason"), scheduled.get("message"))
    waiting = [(one.get("state") or {}).get("waiting") or {} for one in status.get("containerStatuses") or ()]
    for found in waiting:
        if found.get("reason") not in {None, "ContainerCreating", "PodInitializing"}:
            return _joined("its container can't start", found.get("reason"), found.get("message"))
    return f"node {node} prepares it" if node else "the scheduler looks for a node"


def _end(pod: Document, status: Document, otherwise: str = "has ended") -> str:
    name = f"pod {pod['metadata']['name']}"
    disruption = _condition({"status": status}, "DisruptionTarget")
    if disruption:
        return _joined(f"{name} was disrupted", disruption.get("reason"), disruption.get("message"))
    if status.get("reason"):
        return _joined(f"{name} has failed", status.get("reason"), status.get("message"))
    for one in status.get("containerStatuses") or ():
        ended = (one.get("state") or {}).get("terminated")
        if ended:
            how = f"{ended.get('reason') or 'Error'}, exit code {ended.get('exitCode')}"
            return _joined(f"{name} has ended", how, ended.get("message"))
    return f"{name} {otherwise}"


def _condition(document: Document, kind: str, status: str = "True") -> Document | None:
    conditions = (document.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if (one.get("type"), one.get("status")) == (kind, status)), None)


def _joined(what: str, reason: object, message: object) -> str:
    """`what (reason: message)`, without the parts that are missing."""
    said = ": ".join(filter(None, (_shown(reason), _shown(message))))
    return f"{what} ({said})" if said else what


def _shown(text: object) -> str:
    return " ".join(str(text or "").split())[:_SHOWN]
