"""What the event stream says of a download: the name of the event and its data. Pure; the gateway sends it.

`started` opens a download in a stream, then `progress`, and at the end `complete` or `error`. An
EventSource can't tell a named `error` from a lost connection, so that is told as `failed` too.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from model_provisioner.domain.lifecycle.state import State
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.scheduling.queueing import Share, Waiting, queue_order

RECENT = timedelta(minutes=10)
_RUNNING = frozenset({State.DOWNLOADING, State.VERIFYING})

Data = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Message:
    """One event: its name and its data, which become one JSON document."""

    name: str
    data: Data


def state_of(download: ModelDownload) -> str:
    """The one-word state; a new object has none in its status yet."""
    ready = download.status.condition("Ready")
    return ready.reason if ready else State.RESOLVING


def has_ended(download: ModelDownload) -> bool:
    """Ready, or stalled until somebody acts; one that was asked to try again, or is suspended, has not ended."""
    return download.status.ready or (download.status.stalled and not _tries_again(download))


def ended_recently(download: ModelDownload, now: datetime) -> bool:
    """Within the last ten minutes, by the transition time of its Ready or Stalled condition."""
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
    """The state of a download as events, newest only: whoever missed earlier ones misses nothing.

    `stale` says that no operator acts: what is not over yet stands still, whatever its status says.
    """
    stands = stale and not has_ended(download)
    data = {**_common(download), **_progress(download), "queue_position": queue_position, "stale": stands}
    if stands:
        data |= {"bytes_per_second": 0, "eta_seconds": None}
    if download.status.ready and download.status.model:
        return (Message("complete", {**data, "path": download.status.model.path}),)
    if has_ended(download):
        ready = download.status.condition("Ready")
        data["error"] = ready.message if ready else ""
        return (Message("error", data), Message("failed", data))
    return (Message("progress", data),)


def queue_positions(downloads: Iterable[ModelDownload]) -> dict[str, int]:
    """By uid, from 1, in the order in which the operator's queue will serve them."""
    known = [(one, state_of(one)) for one in downloads]
    queued = (one for one, state in known if state == State.QUEUED)
    waiting = (Waiting(one.uid, one.namespace, one.spec.priority, one.creation_time) for one in queued)
    return {one.uid: position for position, one in enumerate(queue_order(waiting, _shares(known)), start=1)}


def _shares(known: Iterable[tuple[ModelDownload, str]]) -> dict[str, Share]:
    """What each namespace has of the slots, as far as objects tell."""
    running, begun = Counter[str](), dict[str, str]()
    for one, state in known:
        running[one.namespace] += state in _RUNNING
        begun[one.namespace] = max(begun.get(one.namespace, ""), one.status.start_time or "")  # RFC 3339 sorts as text
    return {name: Share(running[name], _seconds(last)) for name, last in begun.items()}


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() if moment else 0.0


def _tries_again(download: ModelDownload) -> bool:
    """Somebody has asked for another try, and the operator has not answered yet."""
    return download.reconcile_at not in {None, download.status.last_handled_reconcile_at}


def _common(download: ModelDownload) -> dict[str, object]:
    return {
        "model_ref": download.spec.model_ref,
        "download_id": download.uid,
        "namespace": download.namespace,
        "name": download.name,
        "state": state_of(download),
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
