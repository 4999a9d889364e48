"""The messages of the event stream, and the queue positions that the gateway shows."""

from dataclasses import replace
from datetime import timedelta

import pytest

from model_provisioner.domain.errors import AccessDenied
from model_provisioner.domain.lifecycle.events import (
    Available,
    Event,
    Failed,
    Progressed,
    Queued,
    Started,
    Suspended,
    Terminating,
)
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.modeldownload import ModelDownload, Spec, Status
from model_provisioner.domain.scheduling.queueing import Waiting, next_in_line
from model_provisioner.domain.stream import ended_recently, has_ended, message_of, messages, queue_positions
from tests.support.samples import MODEL, NOW, after


def download(name: str, *events: Event, priority: int = 0) -> ModelDownload:
    status = project(after(*events), 1, NOW, Status())
    spec = Spec("hf:a/b", priority=priority)
    return ModelDownload("n", name, f"uid-{name}", 1, "7", f"2026-01-01T00:00:0{len(name)}Z", False, None, spec, status)


@pytest.mark.parametrize(
    ("events", "names", "ended"),
    [
        ([Queued("waiting")], ["progress"], False),
        ([Started(MODEL, 0)], ["progress"], False),
        ([Suspended()], ["progress"], False),
        ([Failed(AccessDenied("no"), None)], ["error", "failed"], True),
        ([Started(MODEL, 0), Available(MODEL)], ["complete"], True),
    ],
)
def test_each_state_has_its_event(events: list[Event], names: list[str], ended: bool) -> None:
    one = download("x", *events)
    assert [message.name for message in messages(one, None)] == names
    assert has_ended(one) is ended
    assert ended_recently(one, NOW + timedelta(minutes=9)) is ended
    assert not ended_recently(one, NOW + timedelta(minutes=11))


@pytest.mark.parametrize(
    "events",
    [
        [],
        [Queued("")],
        [Started(MODEL, 0), Available(MODEL)],
        [Failed(AccessDenied("no"), None)],
        [Terminating("soon")],
    ],
)
def test_an_object_that_is_being_deleted_is_neither_complete_nor_failed(events: list[Event]) -> None:
    one = replace(download("x", *events), deleting=True)
    (message,) = messages(one, None)
    assert (message.name, message.data["state"]) == ("progress", "Terminating")
    assert (message.data["bytes_per_second"], message.data["eta_seconds"]) == (0, None)
    assert message_of(one) == ("soon" if events == [Terminating("soon")] else "being deleted")
    assert not has_ended(one)
    assert not ended_recently(one, NOW)
    assert queue_positions([one]) == {}


def test_an_object_without_a_status_is_resolving() -> None:
    one = replace(download("x"), status=Status())
    assert messages(one, None)[0].data["state"] == "Resolving"


def test_queue_positions_follow_priority_and_age() -> None:
    waiting = [download("aa", Queued("")), download("b", Queued("")), download("ccc", Queued(""), priority=1)]
    running = download("dddd", Started(MODEL, 0))
    assert queue_positions([*waiting, running]) == {"uid-ccc": 1, "uid-b": 2, "uid-aa": 3}


def test_queue_positions_equal_the_operators_order_for_objects_of_one_second() -> None:
    waiting = [download(name, Queued("")) for name in ("x", "y", "z")]
    waiting = [
        replace(one, uid=uid, creation_time="2026-01-01T00:00:00Z") for one, uid in zip(waiting, "bca", strict=True)
    ]
    places = queue_positions(waiting)
    queue = {Waiting(f"{one.uid}/{number}", one.namespace, 0, one.creation_time) for number, one in enumerate(waiting)}
    for place in range(1, 4):
        first = next_in_line(queue, {})
        assert first
        assert places[first.uid.split("/")[0]] == place
        queue.remove(first)


@pytest.mark.parametrize(
    ("events", "stale"),
    [
        ([Started(MODEL, 0), Progressed(400, 0, 100, 6)], True),
        ([Started(MODEL, 0), Available(MODEL)], False),
        ([Failed(AccessDenied("no"), None)], False),
    ],
)
def test_without_an_operator_a_download_that_has_not_ended_stands_still(events: list[Event], *, stale: bool) -> None:
    for message in messages(download("x", *events), None, stale=True):
        assert message.data["stale"] is stale
        if stale:
            assert (message.data["bytes_per_second"], message.data["eta_seconds"]) == (0, None)
    assert all(message.data["stale"] is False for message in messages(download("x", *events), None))
