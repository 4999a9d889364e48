"""The state machine of one download: what is known of it, and how each event changes that.

`advance` looks up the rule for an event in a table. `controller.reconcile.reconciler` applies the events;
`domain.lifecycle.status` projects the snapshot to the status that users see. `now` is an argument, in UTC.

Two rules hold for every event:
- Only `Available` sets `ready`. Only `Lost`, `Redefined` for another model, and `Terminating` clear it.
- `bytes` never decreases within one value of `attempts`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.errors import DigestMismatch, NotGGUF, Terminal, VolumeChanged
from model_provisioner.domain.gguf.warnings import unknown_types_warning
from model_provisioner.domain.lifecycle.advice import with_advice
from model_provisioner.domain.lifecycle.checks import seen
from model_provisioner.domain.lifecycle.events import (
    Available,
    Event,
    Failed,
    FilesSeen,
    Lost,
    Progressed,
    Queued,
    ReconcileHandled,
    Redefined,
    Rereading,
    Resolved,
    Resolving,
    Started,
    Suspended,
    Terminating,
    VerifyHandled,
    Verifying,
)
from model_provisioner.domain.lifecycle.state import State
from model_provisioner.domain.lifecycle.suspended_message import suspended_message
from model_provisioner.domain.modeldownload import Model

DISCARDING = frozenset(error.__name__ for error in (DigestMismatch, NotGGUF))
"""The errors with which a transfer discards the bytes it received."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One download at one moment.

    `reason` is a `State` or the name of an error. `bytes` counts within this attempt. `bytes_per_second` and
    `eta_seconds` are None if no bytes arrive. `restarts` is how often the worker discarded bytes, as it last reported
    (None: not since it started). `discarded`: the bytes were discarded with the last error, so the next start is a new
    attempt. `handled_reconcile_at` and `handled_verify_at` are the last handled values of the annotations.
    """

    reason: str = State.RESOLVING
    message: str = "waiting for the operator"
    ready: bool = False
    stalled: bool = False
    model: Model | None = None
    bytes: int = 0
    bytes_per_second: int | None = None
    eta_seconds: int | None = None
    attempts: int = 0
    restarts: int | None = None
    discarded: bool = False
    start_time: datetime | None = None
    completion_time: datetime | None = None
    next_retry_time: datetime | None = None
    handled_reconcile_at: str | None = None
    handled_verify_at: str | None = None

    def is_verification_requested(self, verify_at: str | None) -> bool:
        """Whether the annotation value `verify_at` requests a verification that is not handled yet."""
        return verify_at not in {None, self.handled_verify_at}


def advance(snapshot: Snapshot, event: Event, now: datetime) -> Snapshot:
    """The snapshot after `event` at `now`. A ready download changes only by the events in `_APPLY_WHEN_READY`."""
    if snapshot.ready and not isinstance(event, _APPLY_WHEN_READY):
        return snapshot
    return _RULES[type(event)](snapshot, event, now)


def _step(snapshot: Snapshot, reason: str, message: str, **changes: Any) -> Snapshot:
    """Changes to a state without an error and without speed, unless `changes` set them."""
    defaults = {"stalled": False, "next_retry_time": None, "bytes_per_second": None, "eta_seconds": None}
    return replace(snapshot, reason=reason, message=message, **{**defaults, **changes})


def _resolving(snapshot: Snapshot, event: Resolving, _now: datetime) -> Snapshot:
    return _step(snapshot, State.RESOLVING, event.message)


def _resolved(snapshot: Snapshot, event: Resolved, _now: datetime) -> Snapshot:
    """A source without commits may have another version by now: the bytes of the former one do not count."""
    former, found = snapshot.model, event.model
    if snapshot.bytes and former and (former.revision, former.size_bytes) != (found.revision, found.size_bytes):
        return replace(snapshot, model=found, bytes=0, attempts=snapshot.attempts + 1, discarded=False)
    return replace(snapshot, model=found)


def _redefined(snapshot: Snapshot, _event: Redefined, _now: datetime) -> Snapshot:
    """Starts like a new object, but keeps the number of attempts and the handled annotations."""
    return Snapshot(
        attempts=snapshot.attempts,
        discarded=True,
        handled_reconcile_at=snapshot.handled_reconcile_at,
        handled_verify_at=snapshot.handled_verify_at,
    )


def _queued(snapshot: Snapshot, event: Queued, _now: datetime) -> Snapshot:
    return _step(snapshot, State.QUEUED, event.message)


def _suspended(snapshot: Snapshot, event: Suspended, _now: datetime) -> Snapshot:
    known = ""
    if snapshot.model:
        known = suspended_message(snapshot.model.size, snapshot.bytes, event.room, event.alternatives) + "; "
    return _step(snapshot, State.SUSPENDED, f"{known}set `suspend` to false to go on")


def _started(snapshot: Snapshot, event: Started, now: datetime) -> Snapshot:
    """The first start is attempt 1. A start after bytes were discarded is another attempt."""
    fresh = snapshot.attempts == 0 or snapshot.discarded
    return _step(
        snapshot,
        State.DOWNLOADING,
        _fetching(event.model),
        model=event.model,
        attempts=snapshot.attempts + 1 if fresh else snapshot.attempts,
        bytes=event.bytes if fresh else max(snapshot.bytes, event.bytes),
        restarts=None,
        discarded=False,
        start_time=snapshot.start_time or now,
    )


def _progressed(snapshot: Snapshot, event: Progressed, _now: datetime) -> Snapshot:
    again = _discarded_bytes(snapshot, event)
    return replace(
        snapshot,
        reason=State.DOWNLOADING,
        message=_fetching(snapshot.model, event.wait, event.origin) if snapshot.model else snapshot.message,
        attempts=snapshot.attempts + 1 if again else snapshot.attempts,
        restarts=event.restarts,
        bytes=event.bytes if again else max(snapshot.bytes, event.bytes),
        bytes_per_second=event.bytes_per_second,
        eta_seconds=event.eta_seconds,
    )


def _discarded_bytes(snapshot: Snapshot, event: Progressed) -> bool:
    """Whether bytes were discarded since the last event. A count that falls after all bytes arrived shows it too."""
    if snapshot.reason == State.VERIFYING and event.bytes < snapshot.bytes:
        return True
    return snapshot.restarts is not None and event.restarts != snapshot.restarts


def _fetching(model: Model, wait: Wait | None = None, origin: str = "") -> str:
    count = len(model.files)
    fetching = f"fetching {model.size} in {count} {'file' if count == 1 else 'files'} to {model.path}"
    return "; ".join(filter(None, (fetching, origin, str(wait or ""))))


def _verifying(snapshot: Snapshot, event: Verifying, _now: datetime) -> Snapshot:
    percent = event.bytes * 100 // max(event.total, 1)
    message = f"every byte is here; {percent}% of them verified"
    return _step(snapshot, State.VERIFYING, message, bytes=max(snapshot.bytes, event.total))


def _available(snapshot: Snapshot, event: Available, now: datetime) -> Snapshot:
    return _step(
        snapshot,
        State.AVAILABLE,
        "; ".join(filter(None, (_published(event.model), event.origin))),
        ready=True,
        model=event.model,
        bytes=event.model.size_bytes,
        start_time=snapshot.start_time or now,
        completion_time=snapshot.completion_time or now,
    )


def _published(model: Model) -> str:
    warning = unknown_types_warning(model.gguf) if model.gguf else None
    return f"verified and published at {model.path}" + (f"; {warning}" if warning else "")


def _rereading(snapshot: Snapshot, event: Rereading, _now: datetime) -> Snapshot:
    if not (snapshot.ready and snapshot.model):
        return snapshot
    percent = event.bytes * 100 // max(event.total, 1)
    return replace(snapshot, message=f"{_published(snapshot.model)}; reading it again: {percent}%")


def _verify_handled(snapshot: Snapshot, event: VerifyHandled, _now: datetime) -> Snapshot:
    message = _published(snapshot.model) if snapshot.ready and snapshot.model else snapshot.message
    return replace(snapshot, message=message, handled_verify_at=event.at)


def _files_seen(snapshot: Snapshot, event: FilesSeen, now: datetime) -> Snapshot:
    return replace(snapshot, model=snapshot.model and seen(snapshot.model, now, event.volume_name))


def _lost(snapshot: Snapshot, event: Lost, _now: datetime) -> Snapshot:
    """Begins a new attempt now instead of at its start, so that the lost bytes stop counting at once."""
    return _step(
        snapshot,
        event.reason,
        event.message,
        ready=False,
        bytes=0,
        attempts=snapshot.attempts + 1,
        completion_time=None,
    )


def _failed(snapshot: Snapshot, event: Failed, _now: datetime) -> Snapshot:
    """A ready download stays ready, and its message shows the error."""
    if snapshot.ready and snapshot.model:
        return replace(snapshot, message=f"{_published(snapshot.model)}; {event.error.message}")
    return _step(
        snapshot,
        event.error.reason,
        with_advice(event.error, begun=snapshot.start_time is not None, tried_again=event.retry_time is not None),
        stalled=isinstance(event.error, Terminal),
        discarded=snapshot.discarded or (snapshot.reason in _FETCHING and event.error.reason in DISCARDING),
        next_retry_time=event.retry_time,
    )


def _reconcile_handled(snapshot: Snapshot, event: ReconcileHandled, _now: datetime) -> Snapshot:
    """Marks the request as handled. If the volume was exchanged, it accepts the new one too, which has no bytes yet."""
    handled = replace(snapshot, handled_reconcile_at=event.at)
    requested = event.at not in {None, snapshot.handled_reconcile_at}
    if not (requested and snapshot.model and snapshot.reason == VolumeChanged.__name__):
        return handled
    discards = snapshot.bytes > 0
    attempts = snapshot.attempts + 1 if discards else snapshot.attempts
    return replace(handled, model=replace(snapshot.model, store_id=""), bytes=0, attempts=attempts)


def _terminating(snapshot: Snapshot, event: Terminating, _now: datetime) -> Snapshot:
    return _step(snapshot, State.TERMINATING, event.message, ready=False, completion_time=None)


_RULES: Mapping[type[Event], Callable[[Snapshot, Any, datetime], Snapshot]] = {
    Resolving: _resolving,
    Resolved: _resolved,
    Redefined: _redefined,
    Queued: _queued,
    Suspended: _suspended,
    Started: _started,
    Progressed: _progressed,
    Verifying: _verifying,
    Available: _available,
    Rereading: _rereading,
    VerifyHandled: _verify_handled,
    FilesSeen: _files_seen,
    Lost: _lost,
    Failed: _failed,
    ReconcileHandled: _reconcile_handled,
    Terminating: _terminating,
}

_FETCHING = (State.DOWNLOADING, State.VERIFYING)
_APPLY_WHEN_READY = (
    Redefined,
    Available,
    Rereading,
    VerifyHandled,
    FilesSeen,
    Lost,
    Failed,
    ReconcileHandled,
    Terminating,
)
