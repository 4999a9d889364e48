"""The state machine of one download: what each event changes, and the two rules for all events."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.errors import (
    AccessDenied,
    DigestMismatch,
    InsufficientStorage,
    SourceUnavailable,
    VolumeChanged,
    VolumeNotWritable,
)
from model_provisioner.domain.lifecycle.events import (
    Available,
    Event,
    Failed,
    Lost,
    Progressed,
    Queued,
    ReconcileHandled,
    Redefined,
    Resolved,
    Resolving,
    Started,
    Suspended,
    Terminating,
    VerifyHandled,
    Verifying,
)
from model_provisioner.domain.lifecycle.snapshot import Snapshot, advance
from model_provisioner.domain.lifecycle.state import State
from tests.support.samples import MODEL, NOW, after


def test_the_main_path() -> None:
    snapshot = after(Resolving("asking"), Resolved(MODEL), Queued("waiting"))
    assert (snapshot.reason, snapshot.start_time, snapshot.attempts) == (State.QUEUED, None, 0)
    snapshot = after(Started(MODEL, 0), Progressed(400, 0, 100, 6), start=snapshot)
    assert (snapshot.reason, snapshot.bytes, snapshot.attempts) == (State.DOWNLOADING, 400, 1)
    assert snapshot.start_time == NOW
    snapshot = after(Verifying(500, 1000), Available(MODEL), start=snapshot)
    assert (snapshot.reason, snapshot.ready, snapshot.bytes) == (State.AVAILABLE, True, 1000)
    assert snapshot.completion_time == NOW
    assert snapshot.bytes_per_second is None


def test_the_message_tells_what_a_transfer_waits_for() -> None:
    wait = Wait("https://mirror.example", 35, begun=False)
    waiting = after(Started(MODEL, 0), Progressed(0, 0, 0, None, wait))
    assert waiting.reason == State.DOWNLOADING
    assert waiting.message.endswith("; waiting for the first byte from https://mirror.example for 35s")
    moving = after(Progressed(400, 0, 100, 6), start=waiting)
    assert moving.message == after(Started(MODEL, 0)).message


def test_a_resume_neither_counts_as_an_attempt_nor_runs_backwards() -> None:
    snapshot = after(Started(MODEL, 0), Progressed(600, 0, 1, 1), Failed(SourceUnavailable("down"), NOW))
    snapshot = after(Started(MODEL, 512), start=snapshot)
    assert (snapshot.attempts, snapshot.bytes) == (1, 600)


def test_bytes_that_were_thrown_away_begin_a_new_attempt() -> None:
    snapshot = after(Started(MODEL, 0), Progressed(600, 0, 1, 1), Progressed(10, 1, 1, 1))
    assert (snapshot.attempts, snapshot.bytes) == (2, 10)
    snapshot = after(Started(MODEL, 10), Progressed(20, 1, 1, 1), start=snapshot)
    assert (snapshot.attempts, snapshot.bytes) == (2, 20)
    snapshot = after(Failed(DigestMismatch("differs"), None), Started(MODEL, 0), start=snapshot)
    assert (snapshot.attempts, snapshot.bytes) == (3, 0)


def test_the_bytes_of_a_version_that_the_source_no_longer_has_do_not_count() -> None:
    before = after(Started(MODEL, 0), Progressed(600, 0, None, None))
    assert after(Resolved(MODEL), start=before) == before
    found = after(Resolved(replace(MODEL, revision='"v2"')), Started(replace(MODEL, revision='"v2"'), 0), start=before)
    assert (found.bytes, found.attempts) == (0, before.attempts + 1)
    waiting = after(Resolved(MODEL))
    assert after(Resolved(replace(MODEL, revision='"v2"')), start=waiting).attempts == 0


def test_what_is_verified_is_here_until_it_turns_out_wrong() -> None:
    hashing = after(Started(MODEL, 0), Progressed(600, 0, 1, 1), Verifying(100, 1000))
    assert (hashing.bytes, hashing.attempts) == (1000, 1)
    assert "10% of them verified" in hashing.message
    assert after(Started(MODEL, 0), Verifying(0, 1000)).bytes == 1000, "what lay there already is here, too"
    for earlier in (hashing, after(Started(MODEL, 0), Verifying(0, 1000))):
        again = after(Progressed(10, 1, 1, 1), Progressed(20, 1, 1, 1), start=earlier)
        assert (again.bytes, again.attempts, again.reason) == (20, 2, State.DOWNLOADING)


def test_terminal_errors_stall_and_retryable_ones_do_not() -> None:
    retry = NOW + timedelta(seconds=5)
    assert after(Failed(AccessDenied("no"), None)).stalled
    snapshot = after(Failed(SourceUnavailable("down"), retry))
    assert (snapshot.stalled, snapshot.next_retry_time, snapshot.reason) == (False, retry, "SourceUnavailable")
    assert after(Resolving("again"), start=snapshot).next_retry_time is None


def test_only_a_lost_file_takes_readiness_back() -> None:
    ready = after(Started(MODEL, 0), Available(MODEL))
    harmless: list[Event] = [Suspended(), Queued("q"), Resolving("r")]
    assert after(*harmless, start=ready) == ready
    lost = after(Lost("gone"), start=ready)
    assert (lost.ready, lost.completion_time) == (False, None)


@pytest.mark.parametrize(
    "before", [after(Started(MODEL, 0), Available(MODEL)), after(Failed(AccessDenied("no"), None)), after(Suspended())]
)
def test_what_is_being_deleted_is_neither_ready_nor_stalled_and_is_not_tried_again(before: Snapshot) -> None:
    going = after(Terminating("going"), start=before)
    assert (going.ready, going.stalled, going.reason, going.message) == (False, False, "Terminating", "going")
    assert (going.completion_time, going.next_retry_time) == (None, None)
    assert (going.model, going.bytes, going.attempts) == (before.model, before.bytes, before.attempts)


def test_what_is_lost_is_not_counted_as_here_and_is_one_new_attempt() -> None:
    lost = after(Started(MODEL, 0), Available(MODEL), Lost("gone"))
    assert (lost.attempts, lost.bytes) == (2, 0)
    assert (again := after(Started(MODEL, 300), start=lost)).attempts == 2
    assert again.bytes == 300


def test_a_file_of_somebodys_own_that_went_wrong_is_one_new_attempt() -> None:
    wrong = DigestMismatch("it is not what it was")
    lost = after(Started(MODEL, 1000), Available(MODEL), Lost("rot", wrong.reason), Failed(wrong, None))
    assert after(Started(MODEL, 1000), start=lost).attempts == lost.attempts == 2


def test_what_is_ready_stays_so_and_says_what_troubles_it_until_all_is_well() -> None:
    ready = after(Started(MODEL, 0), Available(MODEL))
    troubled = after(Failed(VolumeNotWritable("the volume can't be read"), None), start=ready)
    assert troubled == replace(ready, message=f"{ready.message}; the volume can't be read")
    assert after(VerifyHandled(None), start=troubled) == ready


def test_nothing_of_another_model_is_known_but_how_often_bytes_were_dropped() -> None:
    for before in (after(Started(MODEL, 0), Available(MODEL)), after(Started(MODEL, 0), Progressed(600, 0, 1, 1))):
        anew = after(Redefined(), start=replace(before, handled_reconcile_at="then"))
        assert anew == replace(Snapshot(), attempts=1, discarded=True, handled_reconcile_at="then")
        assert after(Started(MODEL, 0), start=anew).attempts == 2


def test_the_completion_is_of_the_time_that_it_is_ready_now() -> None:
    ready = after(Started(MODEL, 0), Available(MODEL))
    later = NOW + timedelta(hours=1)
    again = advance(after(Lost("gone"), Started(MODEL, 0), start=ready), Available(MODEL), later)
    assert (again.start_time, again.completion_time) == (NOW, later)


def test_the_handled_annotation_is_noted_also_when_ready() -> None:
    ready = after(Started(MODEL, 0), Available(MODEL))
    assert after(ReconcileHandled("now"), start=ready) == replace(ready, handled_reconcile_at="now")


def test_the_annotation_accepts_another_volume_only_where_one_was_noticed() -> None:
    changed = after(Started(MODEL, 0), Failed(VolumeChanged("another store"), None))
    accepted = after(ReconcileHandled("now"), start=changed)
    assert accepted.model == replace(MODEL, store_id="")
    answered = replace(changed, handled_reconcile_at="now")
    for event in (ReconcileHandled("now"), ReconcileHandled(None)):
        assert after(event, start=answered).model == MODEL, "nobody has said it anew"


def test_on_another_volume_nothing_is_here_yet() -> None:
    begun = after(Started(MODEL, 0), Progressed(400, 0, 1, 1), Failed(VolumeChanged("another store"), None))
    accepted = after(ReconcileHandled("now"), Suspended(), start=begun)
    assert (accepted.bytes, accepted.attempts) == (0, 2)
    assert "are here" not in accepted.message
    anew = after(Started(MODEL, 0), Progressed(100, 0, 1, 1), start=accepted)
    assert (anew.bytes, anew.attempts) == (100, 2)
    full = after(Started(MODEL, 0), Failed(InsufficientStorage("full"), None))
    assert after(ReconcileHandled("now"), start=full).model == MODEL


COUNTS = st.integers(0, 1000)
EVENTS = st.one_of(
    st.builds(Started, st.just(MODEL), COUNTS),
    st.builds(Progressed, COUNTS, st.integers(0, 3), COUNTS, COUNTS),
    st.builds(Verifying, COUNTS, st.just(1000)),
    st.just(Suspended()),
    st.just(Queued("waiting")),
    st.just(Failed(SourceUnavailable("down"), NOW)),
    st.just(Failed(DigestMismatch("differs"), None)),
    st.just(Redefined()),
    st.just(Available(MODEL)),
    st.just(Lost("gone")),
    st.just(Terminating("going")),
)


@given(st.lists(EVENTS, max_size=30))
def test_bytes_never_fall_within_one_value_of_attempts(events: list[Event]) -> None:
    snapshot = Snapshot()
    for event in events:
        before, snapshot = snapshot, advance(snapshot, event, NOW)
        assert snapshot.attempts >= before.attempts
        assert snapshot.bytes >= before.bytes or snapshot.attempts > before.attempts or isinstance(event, Redefined)
