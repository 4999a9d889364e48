"""The probes: a dead watch and a stuck queue are problems, a busy operator and a quiet cluster are not."""

from typing import Any

import pytest

from model_provisioner.controller.process.health import Health


class World:
    """A `Health` with a clock, an event age and a queue that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.last_event_age = 0.0
        self.stuck = False
        self.health = Health(lambda: self.last_event_age, lambda: self.stuck, lambda: self.now)

    def problems_after(self, seconds: float) -> list[str]:
        self.now += seconds
        return self.health.problems()


def version(number: int, uid: str = "u") -> dict[str, Any]:
    return {"metadata": {"uid": uid, "resourceVersion": str(number)}}


def test_a_start_that_goes_on_is_waited_for_and_one_that_stands_still_is_not() -> None:
    world = World()
    for uid in range(100):
        world.health.on_event("ADDED", version(5, f"u{uid}"))
    world.now += 20  # until kopf runs
    world.health.begin()
    for uid in range(50):
        assert world.problems_after(2) == []
        world.health.delivered("MODIFIED", f"u{uid}", "5")
    assert world.problems_after(19) == []
    assert "50 changes not delivered" in world.problems_after(2)[0]


@pytest.mark.parametrize(("late", "seconds"), [(1, 300), (5, 20)], ids=["one object", "many objects"])
def test_a_start_ends_and_then_one_late_object_has_minutes_and_many_have_seconds(late: int, seconds: int) -> None:
    world = World()
    world.health.begin()
    uids = [f"u{number}" for number in range(late)]
    for uid in (*uids, "b"):
        world.health.on_event("ADDED", version(5, uid))
    for uid in (*uids, "b"):
        world.health.delivered("MODIFIED", uid, "5")
    for uid in uids:
        world.health.on_event("MODIFIED", version(6, uid))
    for number in range(seconds):
        assert world.problems_after(1) == []
        world.health.on_event("MODIFIED", version(number + 7, "b"))
        world.health.delivered("MODIFIED", "b", str(number + 7))
    assert f"{late} changes not delivered" in world.problems_after(1)[0]


def test_an_object_whose_changes_kopf_receives_and_does_not_deliver_is_no_problem() -> None:
    """kopf stops its work on an object for minutes after an error, and brings the body up to date all the same."""
    world, body = World(), version(5, "stuck")
    world.health.delivered("ADDED", "stuck", "5", body)
    for number in range(6, 1000):
        world.health.on_event("MODIFIED", version(number, "stuck"))
        assert world.problems_after(2) == []
        body["metadata"]["resourceVersion"] = str(number)
    world.health.on_event("MODIFIED", version(1000, "stuck"))
    assert world.problems_after(21), "in a quiet cluster, a change that is not even received shows a dead watch"


def test_an_object_on_which_a_handler_works_for_long_is_no_problem() -> None:
    world = World()
    world.health.delivered("ADDED", "u", "5", version(5))
    with world.health.working_on("u"):
        world.health.on_event("MODIFIED", version(6))
        assert world.problems_after(1000) == []
    assert world.problems_after(0)


@pytest.mark.parametrize("kopf_is_first", [True, False])
def test_what_later_changes_have_overtaken_is_missed(*, kopf_is_first: bool) -> None:
    world = World()
    world.health.on_event("ADDED", version(5))
    world.health.delivered("MODIFIED", "u", "5")
    world.health.on_event("ADDED", version(6, "missed"))
    world.now += 1
    if kopf_is_first:
        world.health.delivered("MODIFIED", "u", "7")
    world.health.on_event("MODIFIED", version(7))
    world.health.delivered("MODIFIED", "u", "7")
    world.health.on_event("MODIFIED", version(8))
    assert world.problems_after(18) == []
    world.health.delivered("MODIFIED", "u", "8")
    assert "1 changes not delivered, the oldest 21s" in world.problems_after(2)[0]


def test_a_busy_kopf_that_delivers_in_order_is_healthy() -> None:
    world = World()
    world.health.on_event("ADDED", version(1, "first"))
    world.health.delivered("MODIFIED", "first", "1")
    for uid in range(100):
        world.health.on_event("ADDED", version(5, f"u{uid}"))
        world.now += 0.1
    for uid in range(100):
        assert world.problems_after(1) == []
        world.health.delivered("MODIFIED", f"u{uid}", "5")


def test_an_object_that_is_lost_at_the_start_is_missed_in_the_end() -> None:
    world = World()
    world.health.begin()
    for uid in ("lost", "busy"):
        world.health.on_event("ADDED", version(5, uid))
    for number in range(60):
        world.health.delivered("MODIFIED", "busy", str(number + 5))
        world.health.on_event("MODIFIED", version(number + 6, "busy"))
        assert world.problems_after(10) == [] or number == 59
    assert "1 changes not delivered" in world.problems_after(0)[0]


def test_what_comes_in_the_wrong_order_has_been_delivered() -> None:
    world = World()
    world.health.delivered("MODIFIED", "u", "6")
    world.health.delivered("MODIFIED", "u", "5")
    world.health.on_event("MODIFIED", version(6))
    assert world.problems_after(1000) == []


def test_a_quiet_cluster_is_no_reason_to_complain() -> None:
    assert World().problems_after(100_000) == []


def test_a_change_that_is_not_delivered_means_a_dead_watch() -> None:
    world = World()
    world.health.on_event("ADDED", version(1, "first"))
    world.health.delivered("MODIFIED", "first", "1")
    world.health.on_event("ADDED", version(5))
    assert world.problems_after(19) == []
    assert "1 changes not delivered" in world.problems_after(2)[0]
    world.health.delivered("MODIFIED", "u", "4")
    assert world.problems_after(21)
    world.health.delivered("MODIFIED", "u", "5")
    assert world.problems_after(0) == []


def test_a_change_that_was_delivered_first_is_not_waited_for() -> None:
    world = World()
    world.health.delivered("MODIFIED", "u", "5")
    world.health.on_event("MODIFIED", version(5))
    assert world.problems_after(1000) == []


def test_an_object_that_changes_all_the_time_does_not_hide_a_dead_watch() -> None:
    world = World()
    for number in range(40):
        world.health.on_event("MODIFIED", version(number + 1))
        world.now += 1
    assert world.problems_after(0)


def test_a_deleted_object_is_not_waited_for() -> None:
    world = World()
    world.health.on_event("ADDED", version(5))
    world.health.on_event("DELETED", version(6))
    assert world.problems_after(1000) == []


@pytest.mark.parametrize("kopf_is_first", [True, False])
def test_nothing_is_kept_of_a_deleted_object(*, kopf_is_first: bool) -> None:
    world = World()
    world.health.on_event("ADDED", version(5))
    world.health.delivered("ADDED", "u", "5")
    if kopf_is_first:
        world.health.delivered("DELETED", "u", "6")
    world.health.on_event("DELETED", version(6))
    world.health.delivered("DELETED", "u", "6")
    world.health.on_event("ADDED", version(4))
    assert world.problems_after(21), "it is not known any more to have been delivered"


def test_silence_of_the_api_server_is_told() -> None:
    world = World()
    world.last_event_age = 200
    assert "nothing heard" in world.problems_after(0)[0]


def test_a_queue_may_be_stuck_for_a_moment_only() -> None:
    world = World()
    world.stuck = True
    assert world.problems_after(0) == []
    assert "stuck" in world.problems_after(31)[0]
    world.stuck = False
    assert world.problems_after(0) == []
