"""The order of the download queue, and which running download gives its slot to another namespace."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.scheduling.queueing import (
    Running,
    Share,
    Stop,
    Turns,
    Waiting,
    next_in_line,
    next_stop,
    queue_order,
)


def test_the_queue_serves_priority_then_age() -> None:
    old, young = Waiting("b", "ns", 0, "2026-01-01T00:00:00Z"), Waiting("a", "ns", 0, "2026-01-02T00:00:00Z")
    urgent = Waiting("c", "ns", 5, "2026-01-03T00:00:00Z")
    assert next_in_line([young, old, urgent], {}) == urgent
    assert next_in_line([young, old], {}) == old
    assert next_in_line([], {}) is None


def test_a_namespace_with_few_running_downloads_goes_first() -> None:
    crowd = [Waiting(f"crowd-{n}", "crowd", 9, f"2026-01-01T00:00:0{n}Z") for n in range(3)]
    alone = Waiting("alone", "alone", 0, "2026-01-02T00:00:00Z")
    assert next_in_line([*crowd, alone], {"crowd": Share(1)}) == alone
    assert next_in_line([*crowd, alone], {"crowd": Share(1), "alone": Share(2)}) == crowd[0]
    assert queue_order([alone, *crowd], {}) == [crowd[0], alone, *crowd[1:]]
    assert queue_order([alone, *crowd], {"alone": Share(2)}) == [*crowd[:2], alone, crowd[2]]


def test_with_one_slot_namespaces_take_turns() -> None:
    crowd = [Waiting(f"crowd-{n}", "crowd", 0, f"2026-01-01T00:00:0{n}Z") for n in range(3)]
    alone = Waiting("alone", "alone", 0, "2026-01-02T00:00:00Z")
    served = Share().served(1.0).ended()
    assert served == Share(0, 1.0)
    assert next_in_line([*crowd, alone], {"crowd": served}) == alone
    urgent = replace(crowd[0], priority=1)
    assert next_in_line([urgent, alone], {"crowd": served}) == alone
    assert next_in_line([urgent, alone], {}) == urgent, "neither was served before"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 5)), max_size=12), st.data())
def test_the_order_is_the_one_that_serving_one_after_the_other_gives(
    queue: list[tuple[str, int, int]], data: st.DataObject
) -> None:
    waiting = [Waiting(str(n), name, priority, f"{age}") for n, (name, priority, age) in enumerate(queue)]
    share = st.builds(Share, st.integers(0, 3), st.integers(0, 9).map(float))
    shares = data.draw(st.dictionaries(st.sampled_from("abc"), share))
    left, now, order = dict(shares), 10.0, []
    rest = waiting[:]
    while first := next_in_line(rest, left):
        rest.remove(first)
        order.append(first)
        now += 1
        left[first.namespace] = left.get(first.namespace, Share()).served(now)
    assert queue_order(waiting, shares) == order


TURNS = Turns(one_of_many=10, longest_of_many=40, only_one=100, longest_only_one=400)


def held(name: str, namespace: str, since: float = 0, *, priority: int = 0, stops: int = 0) -> Running:
    return Running(Waiting(name, namespace, priority, "2026-01-01T00:00:00Z"), since, stops)


def waits(namespace: str, priority: int = 0) -> Waiting:
    return Waiting(f"{namespace}-waits", namespace, priority, "2026-01-02T00:00:00Z")


def test_a_priority_of_one_namespace_does_not_keep_another_waiting() -> None:
    """Every user who may create an object may give it the highest priority."""
    served = Share().served(1.0).ended()
    urgent = [waits("crowd", 10**9), replace(waits("crowd", 10**9), uid="second")]
    assert next_in_line([*urgent, waits("alone")], {"crowd": served}) == waits("alone")
    assert queue_order([*urgent, waits("alone")], {"crowd": served})[0] == waits("alone")


def test_a_namespace_with_all_slots_gives_one_to_a_namespace_that_waits() -> None:
    crowd = [held(str(number), "crowd", number) for number in range(4)]
    assert next_stop([waits("alone")], crowd, 5, TURNS) == Stop("0", 10)
    assert next_stop([waits("alone")], crowd, 30, TURNS) == Stop("3", 30), "the one that began last has done the least"
    assert next_stop([waits("crowd", 10**9)], crowd, 30, TURNS) is None
    assert next_stop([], crowd, 30, TURNS) is None
    stopping = [*crowd[:3], replace(crowd[3], stopping=True)]
    assert next_stop([waits("alone")], stopping, 30, TURNS) is None, "one slot is on its way"
    assert next_stop([waits("alone"), waits("third")], stopping, 30, TURNS) == Stop("2", 30)


def test_the_namespace_with_the_most_slots_gives_one_of_its_lowest_priority() -> None:
    running = [held("a1", "a", 0), held("a2", "a", 0), held("b1", "b", 0, priority=-1)]
    many = [*running, held("c1", "c", 0, priority=9), held("c2", "c", 1, priority=9), held("c3", "c", 0, priority=8)]
    assert next_stop([waits("alone")], many, 50, TURNS) == Stop("c3", 50)
    assert next_stop([waits("alone")], running, 200, TURNS) == Stop("a1", 200), "not the only one of b"


def test_namespaces_with_one_slot_each_take_turns() -> None:
    assert next_stop([waits("alone", -5)], [held("only", "crowd", priority=10**9)], 99, TURNS) == Stop("only", 100)
    assert next_stop([waits("alone", -5)], [held("only", "crowd", priority=10**9)], 150, TURNS) == Stop("only", 150)


def test_a_transfer_that_was_stopped_gets_a_longer_turn() -> None:
    assert [TURNS.seconds(2, stops) for stops in (0, 1, 2, 3, 10**6)] == [10, 20, 40, 40, 40]
    assert [TURNS.seconds(1, stops) for stops in (0, 1, 2, 3)] == [100, 200, 400, 400]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.integers(0, 3)), min_size=1, max_size=4),
    st.sets(st.sampled_from("abcde"), min_size=1),
)
def test_a_namespace_without_a_slot_waits_for_one_turn_at_most(
    running: list[tuple[str, int, int]], names: set[str]
) -> None:
    now = 30.0
    holding = [held(str(n), name, since, stops=stops) for n, (name, since, stops) in enumerate(running)]
    stop = next_stop([waits(name) for name in names], holding, now, TURNS)
    if names <= {name for name, _, _ in running}:
        assert stop is None
    else:
        assert stop
        assert now <= stop.at <= now + TURNS.longest_only_one
