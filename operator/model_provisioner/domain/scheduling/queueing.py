"""Who leaves the download queue next. Pure; the controller's queue asks, and the gateway tells everybody's place.

A namespace with few running downloads goes before one with many, so that nobody's thousand models
keep another's single one waiting. Among namespaces with as many, the higher priority goes first; then the
namespace that was served longest ago, since with one slot none has more than another; then the older object.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transfer in the queue; to the gateway, an object. `creation_time` is RFC 3339, so that it sorts as text.

    `uid` begins with that of an object: many are made within one second.
    """

    uid: str
    namespace: str
    priority: int
    creation_time: str


@dataclass(frozen=True, slots=True)
class Share:
    """What a namespace has of the slots: `running` downloads, the last of them begun at `last`, a number that rises."""

    running: int = 0
    last: float = 0.0

    def served(self, now: float) -> "Share":
        """After one more of its downloads has begun."""
        return Share(self.running + 1, now)

    def ended(self) -> "Share":
        """After one of its downloads has ended."""
        return Share(self.running - 1, self.last)


_NONE = Share()
_Urgency = tuple[int, int, float, str, str]


def next_in_line(waiting: Iterable[Waiting], shares: Mapping[str, Share]) -> Waiting | None:
    """Who is served first; `shares` has every namespace that was ever served."""
    return min(waiting, key=lambda one: _urgency(one, shares.get(one.namespace, _NONE)), default=None)


def queue_order(waiting: Iterable[Waiting], shares: Mapping[str, Share]) -> list[Waiting]:
    """Everybody, in the order in which `next_in_line` would take them if nothing that runs ended."""
    by_namespace = groupby(sorted(waiting, key=lambda one: (one.namespace, place(one))), key=lambda one: one.namespace)
    queues = {namespace: list(queue)[::-1] for namespace, queue in by_namespace}
    left = {namespace: shares.get(namespace, _NONE) for namespace in queues}
    heads = [(_urgency(queue[-1], left[namespace]), namespace) for namespace, queue in queues.items()]
    heapq.heapify(heads)
    now = max((share.last for share in left.values()), default=0.0)
    order: list[Waiting] = []
    while heads:
        _, namespace = heapq.heappop(heads)
        order.append(queues[namespace].pop())
        left[namespace] = left[namespace].served(now := now + 1)
        if queue := queues[namespace]:
            heapq.heappush(heads, (_urgency(queue[-1], left[namespace]), namespace))
    return order


def place(one: Waiting) -> tuple[int, str, str]:
    """The highest priority first, then the oldest; the uid makes the order total."""
    return -one.priority, one.creation_time, one.uid


def _urgency(one: Waiting, share: Share) -> _Urgency:
    return share.running, -one.priority, share.last, one.creation_time, one.uid
