"""Whether an operator acts, judged by its Lease as somebody else sees it. Pure; the gateway looks and asks.

An operator renews its Lease every few seconds, and one that does not is dead, stands still or does not reach the API
server: nothing that it does would be seen. That is told long before the Lease expires and another one may act. It is
measured on our own clock, because the clocks of two machines need not agree.
"""

from dataclasses import dataclass

RENEWAL_SECONDS = 5.0
_LATE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class LeaseObservation:
    """A Lease as it was last seen. `mark` is its version, `changed` when we first saw that, in seconds."""

    mark: str
    holder: str
    changed: float


def observe(before: LeaseObservation | None, mark: str, holder: str, now: float) -> LeaseObservation:
    """What is known after the Lease was read at `now`."""
    changed = before.changed if before and before.mark == mark else now
    return LeaseObservation(mark, holder, changed)


def is_renewed(observation: LeaseObservation, now: float) -> bool:
    """Somebody holds the Lease and renews it."""
    return bool(observation.holder) and now - observation.changed <= _LATE_SECONDS
