"""What the probes say: deafness and a stuck queue are noticed, a busy or quiet operator is not blamed."""

from typing import Any

from model_provisioner.controller.health import Health


class World:
    """A clock to turn, and what the health is told of."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.heard_age = 0.0
        self.stuck = False
        self.health = Health(lambda: self.heard_age, lambda: self.stuck, lambda: self.now)

    def complaints_after(self, seconds: float) -> list[str]:
        self.now += seconds
        return self.health.complaints()


def version(number: int) -> dict[str, Any]:
    return {"metadata": {"uid": "u", "resourceVersion": str(number)}}


def test_a_quiet_cluster_is_no_reason_to_complain() -> None:
    assert World().complaints_after(100_000) == []


def test_a_change_that_is_not_delivered_means_a_dead_watch() -> None:
    world = World()
    world.health.heard("ADDED", version(5))
    assert world.complaints_after(29) == []
    assert "1 changes not delivered" in world.complaints_after(2)[0]
    world.health.delivered("u", "4")
    assert world.complaints_after(0)
    world.health.delivered("u", "5")
    assert world.complaints_after(0) == []


def test_a_change_that_was_delivered_first_is_not_waited_for() -> None:
    world = World()
    world.health.delivered("u", "5")
    world.health.heard("MODIFIED", version(5))
    assert world.complaints_after(1000) == []


def test_an_object_that_changes_all_the_time_does_not_hide_a_dead_watch() -> None:
    world = World()
    for number in range(40):
        world.health.heard("MODIFIED", version(number + 1))
        world.now += 1
    assert world.complaints_after(0)


def test_a_deleted_object_is_not_waited_for() -> None:
    world = World()
    world.health.heard("ADDED", version(5))
    world.health.heard("DELETED", version(6))
    assert world.complaints_after(1000) == []


def test_silence_of_the_api_server_is_told() -> None:
    world = World()
    world.heard_age = 200
    assert "nothing heard" in world.complaints_after(0)[0]


def test_a_queue_may_be_stuck_for_a_moment_only() -> None:
    world = World()
    world.stuck = True
    assert world.complaints_after(0) == []
    assert "stuck" in world.complaints_after(31)[0]
    world.stuck = False
    assert world.complaints_after(0) == []
