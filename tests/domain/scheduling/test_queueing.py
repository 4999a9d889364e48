"""The order of the download queue."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.scheduling.queueing import Share, Waiting, next_in_line, queue_order


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
    assert queue_order([alone, *crowd], {"alone": Share(2)}) == [*crowd[:2], crowd[2], alone]


def test_with_one_slot_namespaces_take_turns_and_a_priority_outranks_them() -> None:
    crowd = [Waiting(f"crowd-{n}", "crowd", 0, f"2026-01-01T00:00:0{n}Z") for n in range(3)]
    alone = Waiting("alone", "alone", 0, "2026-01-02T00:00:00Z")
    served = Share().served(1.0).ended()
    assert served == Share(0, 1.0)
    assert next_in_line([*crowd, alone], {"crowd": served}) == alone
    urgent = replace(crowd[0], priority=1)
    assert next_in_line([urgent, alone], {"crowd": served}) == urgent


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
