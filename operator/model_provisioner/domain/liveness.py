"""Decides whether an operator is active, from its Lease and its pod as another process sees them.

`gateway.stream.lease_monitor` reads the Lease and calls this. An active operator renews its Lease every few seconds;
one that does not is dead, blocked, or cut off from the API server. The gateway reports that long before the Lease
expires and another replica may act. Only our own clock is used, because the clocks of two machines may differ.

`controller.process.lease` asks whether the pod that the Lease names is gone: then nothing is left to wait for. How long
a Lease lasts is decided here too.
"""

import re
from dataclasses import dataclass
from typing import Self

RENEWAL_SECONDS = 5.0
_LATE_SECONDS = 20.0
_POD_IDENTITY = re.compile(r"(?P<name>[a-z0-9][a-z0-9.-]{0,252})_(?P<uid>[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_ENDED_PHASES = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """How long a Lease lasts, in seconds.

    After `duration` without a renewal another process may take it. After `deadline` the holder ends, and the rest of
    the duration is for that. One that waits reads it every `poll`.
    """

    duration: int
    deadline: float
    poll: float


ALONE = LeaseTerms(duration=60, deadline=45.0, poll=2.0)
"""Nothing waits for the Lease, so it outlasts half a minute without an API server: downloads go on meanwhile."""

SHARED = LeaseTerms(duration=20, deadline=14.0, poll=0.5)
"""Another operator waits, and acts within half a minute after the end of the first."""


def lease_terms(replicas: int) -> LeaseTerms:
    """The terms for this number of operators that share a Lease."""
    return SHARED if replicas > 1 else ALONE


def promised_seconds(written: object) -> int:
    """The duration that the holder of a Lease wrote into it, between the shortest and the longest that there is.

    Its terms may be others than ours, while the number of replicas is changed. Any client may have written `written`.
    """
    seconds = written if isinstance(written, int) else ALONE.duration
    return min(max(seconds, SHARED.duration), ALONE.duration)


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


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """The process that a Lease names in `holderIdentity`.

    In a pod, `name` and `uid` are those of the pod. Otherwise `uid` is None and `name` is any text, such as a host's.
    """

    name: str
    uid: str | None = None

    @classmethod
    def parse(cls, identity: str) -> Self:
        """The holder whose text is `identity`. A text of another form, also of an older version, is a bare name."""
        match = _POD_IDENTITY.fullmatch(identity)
        return cls(match["name"], match["uid"]) if match else cls(identity)

    def __str__(self) -> str:
        return f"{self.name}_{self.uid}" if self.uid else self.name


@dataclass(frozen=True, slots=True)
class PodObservation:
    """A pod as the API server has it; `phase` is empty for a new one."""

    uid: str
    phase: str


def is_gone(holder: LeaseHolder, pod: PodObservation | None) -> bool:
    """Whether no container of the pod that `holder` names can run; `pod` is the one of that name, None without one.

    In the phases Succeeded and Failed, such as after an eviction, every container has ended for good. A holder without
    a uid is never gone: its name may be that of a host outside of the cluster.
    """
    if holder.uid is None:
        return False
    return pod is None or pod.uid != holder.uid or pod.phase in _ENDED_PHASES
