"""Who leaves the download queue next. Pure; the controller's queue asks.

A namespace with few running downloads goes before one with many, so that nobody's thousand models
keep another's single one waiting; within that, the higher priority goes first, then the older object.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """One object in the queue. `creation_time` is RFC 3339, so that it sorts as text."""

    uid: str
    namespace: str
    priority: int
    creation_time: str


def next_in_line(waiting: Iterable[Waiting], running: Mapping[str, int]) -> Waiting | None:
    """Who is served first; `running` counts the running downloads of each namespace that has some."""
    return min(waiting, key=lambda one: (running.get(one.namespace, 0), *place(one)), default=None)


def in_line(waiting: Iterable[Waiting], running: Mapping[str, int]) -> list[Waiting]:
    """Everybody, in the order in which `next_in_line` would take them if nothing that runs ended."""
    counts, order = Counter(running), list[tuple[int, tuple[int, str, str], Waiting]]()
    for one in sorted(waiting, key=place):
        order.append((counts[one.namespace], place(one), one))
        counts[one.namespace] += 1
    return [one for *_, one in sorted(order, key=lambda entry: entry[:2])]


def place(one: Waiting) -> tuple[int, str, str]:
    """The highest priority first, then the oldest; the uid makes the order total."""
    return -one.priority, one.creation_time, one.uid
