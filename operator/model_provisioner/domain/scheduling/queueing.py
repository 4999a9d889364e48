"""Decides the order of the download queue, and which running download gives its slot to another namespace.

`controller.transfers.queue` asks for both; `domain.stream` computes queue positions for the gateway. A namespace with
few running downloads goes before one with many, so that a namespace with a thousand models does not block another with
one. Among namespaces with equally many, the one whose last download began longest ago goes first: they take turns. The
priority is a number that every user may set, so it counts only within a namespace, and among namespaces that were never
served. Then the oldest object goes first.

A namespace without a slot does not wait for the end of a download of another one. A download that is stopped keeps its
bytes and joins the queue again.
"""

import heapq
from collections import Counter
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


@dataclass(frozen=True, slots=True)
class Running:
    """A transfer that has a slot since the time `since`, in seconds.

    `stops` counts how often it gave its slot to another namespace before. `stopping` is True while it is doing so.
    """

    waiting: Waiting
    since: float
    stops: int = 0
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class Turns:
    """For how many seconds a transfer keeps its slot while a namespace without a slot waits.

    `one_of_many` is for a namespace with several slots, `only_one` for a namespace with one. Each doubles whenever the
    transfer is stopped, up to its `longest`: what a stop costs stays small, also if the source cannot resume.
    """

    one_of_many: float = 10.0
    longest_of_many: float = 600.0
    only_one: float = 600.0
    longest_only_one: float = 7200.0

    def seconds(self, slots: int, stops: int) -> float:
        """The turn of a transfer that was stopped `stops` times, of a namespace with `slots` slots."""
        first, longest = (
            (self.one_of_many, self.longest_of_many) if slots > 1 else (self.only_one, self.longest_only_one)
        )
        doubled: float = first * 2 ** min(stops, _MOST_DOUBLINGS)
        return min(doubled, longest)


@dataclass(frozen=True, slots=True)
class Stop:
    """The running transfer `uid` must be stopped at the time `at`, in seconds."""

    uid: str
    at: float


_UNSERVED = Share()
_MOST_DOUBLINGS = 16  # enough for any `longest`, and no overflow
_Urgency = tuple[int, float, int, str, str]


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


def next_stop(waiting: Iterable[Waiting], running: Iterable[Running], now: float, turns: Turns) -> Stop | None:
    """The transfer that is stopped next for a namespace that waits without a slot; None if there is no such namespace.

    Call it while no slot is free. `now` is the time in seconds. Of the transfers whose turn is over, it is one of the
    namespace with the most slots, of these the one with the lowest priority, of these the one that began last.
    """
    all_running = list(running)
    without_slot = {item.namespace for item in waiting} - {each.waiting.namespace for each in all_running}
    going = [each for each in all_running if not each.stopping]
    if len(without_slot) <= len(all_running) - len(going):
        return None
    slots = Counter(each.waiting.namespace for each in going)
    ends = {each: each.since + turns.seconds(slots[each.waiting.namespace], each.stops) for each in going}
    over = [each for each in going if ends[each] <= now]
    if over:
        cheapest = max(over, key=lambda each: (slots[each.waiting.namespace], -each.waiting.priority, each.since))
        return Stop(cheapest.waiting.uid, now)
    first = min(going, key=lambda each: ends[each], default=None)
    return None if first is None else Stop(first.waiting.uid, ends[first])


def _by_namespace(waiting: Waiting) -> tuple[str, int, str, str]:
    """Sorts by namespace; within one, the highest priority first, then the oldest, then the uid."""
    return waiting.namespace, -waiting.priority, waiting.creation_time, waiting.uid


def _urgency(waiting: Waiting, share: Share) -> _Urgency:
    return share.running, share.last, -waiting.priority, waiting.creation_time, waiting.uid
