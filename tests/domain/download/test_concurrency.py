"""The number of connections, with simulated sources."""

from collections.abc import Callable

import pytest

from model_provisioner.domain.download.concurrency import ConnectionScaler

MIB = 1024 * 1024
TICK = 0.02

Source = Callable[[float, int], float]
"""From the time in seconds and the number of connections to the rate in bytes per second."""


def simulate(
    source: Source, seconds: float, most: int = 8, first_byte: float = 0.001, start: ConnectionScaler | None = None
) -> list[int]:
    """The wanted number of connections, every 20 ms."""
    lanes, moved, counts = start or ConnectionScaler(), 0, []
    for tick in range(int(seconds / TICK)):
        now = 1000 + tick * TICK
        moved += int(source(now - 1000, lanes.wanted) * TICK)
        lanes = lanes.observe(now, moved, most, first_byte)
        counts.append(lanes.wanted)
    return counts


def fast_link(now: float, lanes: int) -> float:
    return 300 * MIB


def faster_than_hashing(now: float, lanes: int) -> float:
    """The rate grows with the number of connections, as noise can make it appear."""
    return 500 * MIB * lanes


def limited_per_connection(now: float, lanes: int) -> float:
    return 20 * MIB * lanes


def line_for_three(now: float, lanes: int) -> float:
    return 20 * MIB * min(lanes, 3)


def test_a_link_that_one_connection_fills_keeps_one() -> None:
    counts = simulate(fast_link, 60)
    assert sum(counts) / len(counts) < 1.15


def test_what_comes_as_fast_as_it_can_be_used_keeps_one() -> None:
    assert set(simulate(faster_than_hashing, 60)) == {1}


@pytest.mark.parametrize("most", [2, 5, 8, 16])
def test_a_source_that_limits_each_connection_gets_all_that_are_allowed_within_two_seconds(most: int) -> None:
    counts = simulate(limited_per_connection, 30, most)
    assert set(counts[int(2 / TICK) :]) == {most}


def test_no_more_connections_than_help_are_kept() -> None:
    counts = simulate(line_for_three, 30)
    assert 3 <= sum(counts) / len(counts) < 5


def test_a_far_source_gets_time_to_get_up_to_speed() -> None:
    """Each connection needs half a second to reach full speed; an early measurement would see no gain."""
    opened: list[float] = []

    def slow_start(now: float, lanes: int) -> float:
        while len(opened) < lanes:
            opened.append(now)
        del opened[lanes:]
        return sum(5 * MIB * min(1.0, (now - since) / 0.5) for since in opened)

    assert simulate(slow_start, 30, first_byte=0.24)[-1] == 8


def test_all_allowed_connections_are_opened_at_once_on_a_far_path() -> None:
    far = ConnectionScaler().at_distance(0.08)
    one = far.observe(1000, 0, 1, 0.5)
    assert one.wanted == 1, "the header of the file is not checked yet"
    assert one.observe(1000.1, MIB, 8, 0.5).wanted == 8
    assert one.observe(1000.1, MIB, 8, 0.5, bandwidth=MIB).wanted == 1, "one may reach a limit of bandwidth"


def test_losses_on_a_far_path_close_no_connection() -> None:
    """Each has its best time before the first lost packet."""

    def lossy(now: float, lanes: int) -> float:
        return lanes * MIB * (5 if now < 5 else 1)

    assert set(simulate(lossy, 60, start=ConnectionScaler().at_distance(0.08).observe(1000, 0, 1, 0.5))[1:]) == {8}


def test_a_bandwidth_limit_that_one_connection_meets_is_left_to_one() -> None:
    lanes = ConnectionScaler()
    for tick in range(3000):
        lanes = lanes.observe(1000 + tick * TICK, int(16 * MIB * tick * TICK), 8, 0.001, bandwidth=16 * MIB)
        assert lanes.wanted == 1


@pytest.mark.parametrize(("begun", "opens"), [(0, False), (1, True)])
def test_a_near_source_is_asked_for_more_when_the_ones_before_work(begun: int, opens: bool) -> None:
    near = ConnectionScaler(wanted=8)
    assert near.may_open(1, begun) is opens
    assert near.at_distance(0.08).may_open(1, begun)


def test_a_refused_trial_ends_at_the_number_that_works() -> None:
    assert ConnectionScaler(wanted=8).refused(1000, 2).wanted == 1


def test_a_collapse_leads_to_fewer_and_a_recovery_to_more() -> None:
    def collapses(now: float, lanes: int) -> float:
        return 10 * MIB if 20 < now < 60 and lanes > 2 else 20 * MIB * lanes

    counts = simulate(collapses, 200)
    assert counts[int(19 / TICK)] == 8
    assert min(counts[int(20 / TICK) : int(60 / TICK)]) <= 2
    assert counts[-1] == 8


def test_a_refusal_takes_one_away_at_once_and_lets_it_back_later() -> None:
    refused = ConnectionScaler(wanted=8).refused(1000)
    assert refused.wanted == 7
    counts = simulate(limited_per_connection, 60, start=refused)
    assert set(counts[: int(1.9 / TICK)]) == {7}
    assert counts[-1] == 8


def test_one_connection_is_always_left() -> None:
    assert ConnectionScaler().refused(0).wanted == 1


def test_a_lowered_limit_counts_at_once_and_a_raised_one_soon() -> None:
    lanes = ConnectionScaler(wanted=8).observe(1000, 0, 8, 0.001)
    assert lanes.observe(1000.1, 0, 2, 0.001).wanted == 2
    one = ConnectionScaler().observe(1000, 0, 1, 0.001)
    held = simulate(limited_per_connection, 30, most=1, start=one)
    assert set(held) == {1}
    assert simulate(limited_per_connection, 3, most=8, start=one)[-1] == 8
