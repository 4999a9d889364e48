"""Decides whether an operator is active, from its Lease as another process sees it.

`gateway.stream.lease_monitor` reads the Lease and calls this. An active operator renews its Lease every few seconds;
one that does not is dead, blocked, or cut off from the API server. The gateway reports that long before the Lease
expires and another replica may act. Only our own clock is used, because the clocks of two machines may differ.
"""

from dataclasses import dataclass

RENEWAL_SECONDS = 5.0
_LATE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class LeaseObservation:
    """A Lease as it was last read.

    `mark` is its resourceVersion, which changes with every renewal. `changed` is when this `mark` was
    first seen, in seconds on our monotonic clock.
    """

    mark: str
    holder: str
    changed: float


def observe(before: LeaseObservation | None, mark: str, holder: str, now: float) -> LeaseObservation:
    """The observation after the Lease was read at `now`, in seconds on the clock of `changed`."""
    changed = before.changed if before and before.mark == mark else now
    return LeaseObservation(mark, holder, changed)


def is_renewed(observation: LeaseObservation, now: float) -> bool:
    """Whether an operator holds the Lease and renewed it recently."""
    return bool(observation.holder) and now - observation.changed <= _LATE_SECONDS
