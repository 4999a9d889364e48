"""Projects a snapshot to the status of its object, and restores a snapshot from a status after a restart.

Only this module makes conditions. They are the ones that kstatus reads (Helm --wait, Flux, Argo CD): Ready is always
present; Reconciling=True means that the operator works or retries; Stalled=True means that something outside must
change. Reconciling and Stalled are never both present, and absent instead of False.
"""

from datetime import UTC, datetime

from model_provisioner.domain.lifecycle.limits import MAX_INT32, fitted
from model_provisioner.domain.lifecycle.snapshot import DISCARDING, Snapshot
from model_provisioner.domain.lifecycle.state import State
from model_provisioner.domain.modeldownload import Condition, Progress, Status
from model_provisioner.domain.quantity import format_duration, format_rate

_AT_REST = frozenset({State.SUSPENDED, State.TERMINATING})  # kstatus knows the latter by the deletionTimestamp


def project(snapshot: Snapshot, generation: int, now: datetime, previous: Status) -> Status:
    """The status of `snapshot`. Conditions that do not change keep their transition time from `previous`."""
    status = Status(
        observed_generation=generation,
        conditions=_conditions(snapshot, generation, now, previous),
        progress=_progress(snapshot, now, previous.progress),
        start_time=rfc3339(snapshot.start_time),
        completion_time=rfc3339(snapshot.completion_time),
        next_retry_time=rfc3339(snapshot.next_retry_time),
        attempts=snapshot.attempts,
        last_handled_reconcile_at=snapshot.handled_reconcile_at,
        last_handled_verify_at=snapshot.handled_verify_at,
        model=snapshot.model,
    )
    return fitted(status)


def restore(status: Status) -> Snapshot:
    """The snapshot that an earlier operator wrote as `status`.

    If the status has an error in `DISCARDING`, its bytes were discarded with that error.
    """
    ready = status.condition("Ready")
    total = status.model.size_bytes if status.model else 0
    recorded_bytes = min(max(status.progress.bytes, 0), total) if status.progress else 0
    return Snapshot(
        reason=ready.reason if ready else State.RESOLVING,
        message=ready.message if ready else Snapshot().message,
        ready=status.ready,
        stalled=status.stalled,
        model=status.model,
        bytes=recorded_bytes,
        attempts=min(max(status.attempts, 0), MAX_INT32),
        discarded=recorded_bytes > 0 and ready is not None and ready.reason in DISCARDING,
        start_time=_parsed(status.start_time),
        completion_time=_parsed(status.completion_time),
        next_retry_time=_parsed(status.next_retry_time),
        handled_reconcile_at=status.last_handled_reconcile_at,
        handled_verify_at=status.last_handled_verify_at,
    )


def rfc3339(moment: datetime | None) -> str | None:
    """The time as Kubernetes writes it: UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def _parsed(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _conditions(snapshot: Snapshot, generation: int, now: datetime, previous: Status) -> tuple[Condition, ...]:
    return tuple(
        _condition(kind, value, snapshot, generation, now, previous)
        for kind, value in (
            ("Ready", snapshot.ready),
            ("Reconciling", _reconciling(snapshot) or None),
            ("Stalled", snapshot.stalled or None),
        )
        if value is not None
    )


def _reconciling(snapshot: Snapshot) -> bool:
    return not (snapshot.ready or snapshot.stalled or snapshot.reason in _AT_REST)


def _condition(
    kind: str, value: bool, snapshot: Snapshot, generation: int, now: datetime, previous: Status
) -> Condition:
    """One condition. `lastTransitionTime` changes only with the value (Kubernetes API conventions)."""
    status = str(value)
    before = previous.condition(kind)
    since = before.last_transition_time if before and before.status == status else rfc3339(now)
    return Condition(kind, status, snapshot.reason, snapshot.message, generation, since or "")


def _progress(snapshot: Snapshot, now: datetime, previous: Progress | None) -> Progress | None:
    if snapshot.model is None:
        return None
    total = snapshot.model.size_bytes
    percent = snapshot.bytes * 100 // total if total else 0
    progress = Progress(
        bytes=snapshot.bytes,
        total_bytes=total,
        percent=percent,
        bytes_per_second=snapshot.bytes_per_second,
        eta_seconds=snapshot.eta_seconds,
        summary=_summary(percent, snapshot),
        last_update_time=rfc3339(now) or "",
    )
    return previous if previous and _same(progress, previous) else progress


def _summary(percent: int, snapshot: Snapshot) -> str:
    rate, eta = snapshot.bytes_per_second, snapshot.eta_seconds
    parts = [f"{percent}%"]
    if rate is not None:
        parts.append(format_rate(rate))
    if eta is not None:
        parts.append(format_duration(eta))
    return " · ".join(parts)


def _same(progress: Progress, previous: Progress) -> bool:
    return (progress.bytes, progress.total_bytes, progress.summary) == (
        previous.bytes,
        previous.total_bytes,
        previous.summary,
    )
