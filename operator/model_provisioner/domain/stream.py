"""Builds the messages of the event stream about a download: the name of each event and its data.

`gateway.stream` and `gateway.api` call this. A stream begins a download with `started`, continues with `progress`, and
ends it with `complete` or `error`. An EventSource cannot distinguish an event named `error` from a lost connection,
so each `error` is also sent as `failed`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from model_provisioner.domain.lifecycle.state import State
from model_provisioner.domain.modeldownload import ModelDownload, Spec
from model_provisioner.domain.scheduling.lanes import Lane, lane_of
from model_provisioner.domain.scheduling.queueing import Share, Waiting, queue_order

RECENT = timedelta(minutes=10)
_RUNNING = frozenset({State.DOWNLOADING, State.VERIFYING})

Data = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Message:
    """One event: its name, and its data as the content of one JSON object."""

    name: str
    data: Data


def state_of(download: ModelDownload) -> str:
    """The reason of the Ready condition; `Resolving` for a new object, which has no conditions.

    `Terminating` for one that is being deleted, whatever its status says: its files may be gone at any moment.
    """
    if download.deleting:
        return State.TERMINATING
    ready = download.status.condition("Ready")
    return ready.reason if ready else State.RESOLVING


def message_of(download: ModelDownload) -> str:
    """The message of the Ready condition. That of another state than `state_of` would contradict it."""
    ready = download.status.condition("Ready")
    if download.deleting and not (ready and ready.reason == State.TERMINATING):
        return "being deleted"
    return ready.message if ready else ""


def has_ended(download: ModelDownload) -> bool:
    """Whether the download is Ready or Stalled. It is not ended if it is suspended, or if a retry was requested.

    One that is being deleted has not ended either: `deleted` is its end.
    """
    if download.deleting:
        return False
    return download.status.ready or (download.status.stalled and not _is_retry_requested(download))


def ended_recently(download: ModelDownload, now: datetime) -> bool:
    """Whether the download ended within the last ten minutes, by the transition time of Ready or Stalled."""
    kind = "Ready" if download.status.ready else "Stalled"
    condition = download.status.condition(kind)
    if not has_ended(download) or condition is None:
        return False
    return now - datetime.fromisoformat(condition.last_transition_time) < RECENT


def started(download: ModelDownload) -> Message:
    return Message("started", _common(download))


def deleted(download: ModelDownload) -> Message:
    return Message("deleted", _common(download))


def messages(download: ModelDownload, queue_position: int | None, *, stale: bool = False) -> tuple[Message, ...]:
    """The current state of a download as events. A client that missed earlier events needs none of them.

    `queue_position` counts from 1; None if the download is not queued. `stale` says that no operator is active: then a
    download that has not ended makes no progress, whatever its status says.
    """
    is_stale = stale and not has_ended(download)
    data = {**_common(download), **_progress(download), "queue_position": queue_position, "stale": is_stale}
    if is_stale or download.deleting:
        data |= {"bytes_per_second": 0, "eta_seconds": None}
    if download.deleting:
        return (Message("progress", data),)
    if download.status.ready and (model := download.status.model):
        projector = {"projector": model.projector.path} if model.projector else {}
        return (Message("complete", {**data, "path": model.path, **projector}),)
    if has_ended(download):
        ready = download.status.condition("Ready")
        data["error"] = ready.message if ready else ""
        return (Message("error", data), Message("failed", data))
    return (Message("progress", data),)


def queue_positions(downloads: Iterable[ModelDownload]) -> dict[str, int]:
    """The queue positions by uid, from 1, in the order of the controller's queue for the lane of the download."""
    lanes = defaultdict[Lane, list[tuple[ModelDownload, str]]](list)
    for download in downloads:
        lanes[_lane_of(download.spec)].append((download, state_of(download)))
    return {uid: position for known in lanes.values() for uid, position in _positions(known).items()}


def _lane_of(spec: Spec) -> Lane:
    return lane_of(spec.max_bytes_per_second, local=spec.model_ref.startswith("local:"))


def _positions(known: Sequence[tuple[ModelDownload, str]]) -> dict[str, int]:
    """The queue positions in one lane."""
    queued = (download for download, state in known if state == State.QUEUED)
    waiting = (Waiting(each.uid, each.namespace, each.spec.priority, each.creation_time) for each in queued)
    return {item.uid: position for position, item in enumerate(queue_order(waiting, _shares(known)), start=1)}


def _shares(known: Iterable[tuple[ModelDownload, str]]) -> dict[str, Share]:
    """The slots that each namespace uses, computed from the objects."""
    running, begun = Counter[str](), dict[str, str]()
    for download, state in known:
        namespace, start = download.namespace, download.status.start_time or ""
        running[namespace] += state in _RUNNING
        begun[namespace] = max(begun.get(namespace, ""), start)  # RFC 3339 sorts as text
    return {name: Share(running[name], _seconds(last)) for name, last in begun.items()}


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0


def _is_retry_requested(download: ModelDownload) -> bool:
    """Whether a retry was requested that the operator has not handled yet."""
    return download.reconcile_at not in {None, download.status.last_handled_reconcile_at}


def _common(download: ModelDownload) -> dict[str, object]:
    return {
        "model_ref": download.spec.model_ref,
        "download_id": download.uid,
        "namespace": download.namespace,
        "name": download.name,
        "state": state_of(download),
        **({"endpoint": download.spec.endpoint} if download.spec.endpoint else {}),
    }


def _progress(download: ModelDownload) -> dict[str, object]:
    progress = download.status.progress
    if progress is None:
        return {"bytes": 0, "total": None, "percent": 0, "bytes_per_second": None, "eta_seconds": None}
    return {
        "bytes": progress.bytes,
        "total": progress.total_bytes,
        "percent": progress.percent,
        "bytes_per_second": progress.bytes_per_second,
        "eta_seconds": progress.eta_seconds,
    }
