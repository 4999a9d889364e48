"""Who leaves the download queue next. Pure; the controller's queue asks, the gateway may show it."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """One object in the queue. `creation_time` is RFC 3339, so that it sorts as text."""

    uid: str
    priority: int
    creation_time: str


def next_in_line(waiting: Iterable[Waiting]) -> Waiting | None:
    """The highest priority first, then the oldest; the uid makes the order total."""
    return min(waiting, key=lambda one: (-one.priority, one.creation_time, one.uid), default=None)
