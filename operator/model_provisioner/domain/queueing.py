"""Who leaves the download queue next. Pure; the controller's queue asks, the gateway shows it."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """One object in the queue. `creation_time` is RFC 3339, so that it sorts as text."""

    uid: str
    priority: int
    creation_time: str


def next_in_line(waiting: Iterable[Waiting]) -> Waiting | None:
    """Who is served first."""
    return min(waiting, key=_place, default=None)


def in_line(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Everybody, in the order in which `next_in_line` would take them."""
    return sorted(waiting, key=_place)


def _place(one: Waiting) -> tuple[int, str, str]:
    """The highest priority first, then the oldest; the uid makes the order total."""
    return -one.priority, one.creation_time, one.uid
