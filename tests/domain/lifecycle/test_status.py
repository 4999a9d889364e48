"""The projection to a status: conditions as kstatus reads them, and the snapshot after a restart."""

from datetime import timedelta

import pytest

from model_provisioner.domain.errors import AccessDenied, DigestMismatch, SourceUnavailable
from model_provisioner.domain.lifecycle.events import (
    Available,
    Event,
    Failed,
    Progressed,
    Queued,
    Resolved,
    Resolving,
    Started,
    Suspended,
    Terminating,
    Verifying,
)
from model_provisioner.domain.lifecycle.snapshot import Snapshot
from model_provisioner.domain.lifecycle.status import project, restore
from model_provisioner.domain.modeldownload import Status
from tests.support.samples import MODEL, NOW, after

CASES: list[tuple[list[Event], dict[str, str], str]] = [
    ([], {"Ready": "False", "Reconciling": "True"}, "Resolving"),
    ([Resolving("asking")], {"Ready": "False", "Reconciling": "True"}, "Resolving"),
    ([Queued("waiting")], {"Ready": "False", "Reconciling": "True"}, "Queued"),
    ([Started(MODEL, 0)], {"Ready": "False", "Reconciling": "True"}, "Downloading"),
    ([Started(MODEL, 0), Verifying(1, 2)], {"Ready": "False", "Reconciling": "True"}, "Verifying"),
    ([Resolved(MODEL), Suspended()], {"Ready": "False"}, "Suspended"),
    ([Failed(SourceUnavailable("x"), NOW)], {"Ready": "False", "Reconciling": "True"}, "SourceUnavailable"),
    ([Failed(AccessDenied("x"), None)], {"Ready": "False", "Stalled": "True"}, "AccessDenied"),
    ([Started(MODEL, 0), Available(MODEL)], {"Ready": "True"}, "Available"),
    ([Started(MODEL, 0), Available(MODEL), Terminating("going")], {"Ready": "False"}, "Terminating"),
    ([Started(MODEL, 0), Terminating("going")], {"Ready": "False"}, "Terminating"),
]


@pytest.mark.parametrize(("events", "conditions", "reason"), CASES)
def test_conditions_are_those_that_kstatus_reads(events: list[Event], conditions: dict[str, str], reason: str) -> None:
    status = project(after(*events), 3, NOW, Status())
    assert {condition.type: condition.status for condition in status.conditions} == conditions
    assert {condition.reason for condition in status.conditions} == {reason}
    assert {condition.observed_generation for condition in status.conditions} == {3}
    assert all(condition.message for condition in status.conditions)
    assert status.observed_generation == 3


def test_a_transition_time_moves_only_when_the_value_flips() -> None:
    first = project(after(Queued("q")), 1, NOW, Status())
    later = NOW + timedelta(minutes=1)
    second = project(after(Started(MODEL, 0)), 1, later, first)
    third = project(after(Started(MODEL, 0), Available(MODEL)), 1, later, second)
    stamps = [status.conditions[0].last_transition_time for status in (first, second, third)]
    assert stamps == ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"]


def test_progress_is_written_for_people_and_unchanged_without_change() -> None:
    snapshot = after(Started(MODEL, 0), Progressed(150, 0, 50 * 1024**2, 11))
    status = project(snapshot, 1, NOW, Status())
    assert status.progress
    assert (status.progress.percent, status.progress.summary) == (15, "15% · 50 MiB/s · 11s")
    assert project(snapshot, 1, NOW + timedelta(hours=1), status).progress == status.progress


@pytest.mark.parametrize("events", [case[0] for case in CASES])
def test_a_restarted_operator_goes_on_from_the_status(events: list[Event]) -> None:
    status = project(after(*events), 1, NOW, Status())
    restored = restore(status)
    assert project(restored, 1, NOW, status) == status


def test_a_restarted_operator_knows_that_wrong_bytes_were_dropped() -> None:
    wrong = after(Started(MODEL, 0), Progressed(600, 0, 1, 1), Failed(DigestMismatch("differs"), None))
    again = after(Started(MODEL, 0), start=restore(project(wrong, 1, NOW, Status())))
    assert (again.attempts, again.bytes) == (2, 0)


def test_no_status_is_a_fresh_snapshot() -> None:
    assert restore(Status()) == Snapshot()
