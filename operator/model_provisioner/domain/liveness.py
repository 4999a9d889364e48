"""Whether an operator acts, judged by its Lease as somebody else sees it. Pure; the gateway looks and asks.

A Lease that does not change for its whole duration has lost its holder. That is measured on our own
clock, because the clocks of two machines need not agree.
"""

from dataclasses import dataclass

_LATE_SECONDS = 5.0  # how much later than the operator's renewal we may look


@dataclass(frozen=True, slots=True)
class Glance:
    """A Lease as it was last seen. `mark` is its version, `changed` when we first saw that, in seconds."""

    mark: str
    holder: str
    duration: float
    changed: float


def look(before: Glance | None, mark: str, holder: str, duration: float, now: float) -> Glance:
    """What is known after the Lease was read at `now`."""
    changed = before.changed if before and before.mark == mark else now
    return Glance(mark, holder, duration, changed)


def acts(glance: Glance, now: float) -> bool:
    """Somebody holds the Lease and has renewed it in time."""
    return bool(glance.holder) and now - glance.changed <= glance.duration + _LATE_SECONDS
