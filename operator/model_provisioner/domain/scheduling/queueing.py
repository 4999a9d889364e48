"""Decides the order of the download queue.

`controller.transfers.queue` takes the next download from here; `domain.stream` computes queue positions for the
gateway. A namespace with few running downloads goes before one with many, so that a namespace with a thousand models
does not block another with one. Among namespaces with equally many, the highest priority goes first, then the namespace
whose last download began longest ago (with one slot, this makes them take turns), then the oldest object.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transfer in the queue of the controller; an object in the queue that the gateway shows.

    `uid` is the object's uid, or begins with it. It makes the order total if objects were created in the same second.
    `creation_time` is an RFC 3339 string in UTC, which sorts as text.
    """

    uid: str
    namespace: str
    priority: int
    creation_time: str


@dataclass(frozen=True, slots=True)
class Share:
    """The slots that a namespace uses: the number of `running` downloads, and when the last of them began.

    `last` is any number that rises with time; all shares use the same clock.
    """

    running: int = 0
    last: float = 0.0

    def served(self, now: float) -> "Share":
        """The share after one more download of the namespace has begun."""
        return Share(self.running + 1, now)

    def ended(self) -> "Share":
        """The share after one download of the namespace has ended."""
        return Share(self.running - 1, self.last)


_UNSERVED = Share()
_Urgency = tuple[int, int, float, str, str]


def next_in_line(waiting: Iterable[Waiting], shares: Mapping[str, Share]) -> Waiting | None:
    """The transfer to start next. A namespace that is not in `shares` was never served."""
    return min(waiting, key=lambda item: _urgency(item, shares.get(item.namespace, _UNSERVED)), default=None)


def queue_order(waiting: Iterable[Waiting], shares: Mapping[str, Share]) -> list[Waiting]:
    """All of `waiting`, in the order in which `next_in_line` returns them if no running download ends."""
    grouped = groupby(sorted(waiting, key=_by_namespace), key=lambda item: item.namespace)
    queues = {namespace: list(queue)[::-1] for namespace, queue in grouped}
    left = {namespace: shares.get(namespace, _UNSERVED) for namespace in queues}
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


def _by_namespace(waiting: Waiting) -> tuple[str, int, str, str]:
    """Sorts by namespace; within one, the highest priority first, then the oldest, then the uid."""
    return waiting.namespace, -waiting.priority, waiting.creation_time, waiting.uid


def _urgency(waiting: Waiting, share: Share) -> _Urgency:
    return share.running, -waiting.priority, share.last, waiting.creation_time, waiting.uid
