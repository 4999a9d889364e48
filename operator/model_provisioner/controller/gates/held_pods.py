"""The pods of one namespace that our gate holds, and when each is looked at again. In memory, from the watch of pods.

Called by `controller.gates.namespace_gates`, which decides when that is.
"""

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from model_provisioner.domain.pods.gated_pod import GatedPod
from model_provisioner.domain.pods.lookup import keys_of_wanted


@dataclass(frozen=True, slots=True)
class Told:
    """The newest Event of a pod, posted at `at` in seconds of the monotonic clock."""

    reason: str
    message: str
    at: float


@dataclass(slots=True)
class HeldPod:
    """One pod, and what was done for it.

    `reason` is what it waits for since `since`. After `failures` patches in a row that were refused, the last with the
    message `refusal`, there is no other one before `not_before`. Times are in seconds of the monotonic clock.
    """

    pod: GatedPod
    reason: str = ""
    since: float = -math.inf
    told: Told | None = None
    failures: int = 0
    refusal: str = ""
    not_before: float = -math.inf
    is_busy: bool = False


class HeldPods:
    """By uid, and by what they wait for."""

    def __init__(self) -> None:
        self._held: dict[str, HeldPod] = {}
        self._uids: dict[str, set[str]] = defaultdict(set)
        self._due: dict[str, float] = {}
        self._queue: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._held)

    def get(self, uid: str) -> HeldPod | None:
        return self._held.get(uid)

    def put(self, pod: GatedPod) -> HeldPod:
        """Takes in the newest version of a pod."""
        held = self._held.get(pod.uid)
        if held is None:
            held = self._held[pod.uid] = HeldPod(pod)
        else:
            self._unlink(held.pod)
            held.pod = pod
        for key in _keys(pod):
            self._uids[key].add(pod.uid)
        return held

    def remove(self, uid: str) -> None:
        self._due.pop(uid, None)
        if held := self._held.pop(uid, None):
            self._unlink(held.pod)

    def waiting_for(self, keys: Iterable[str]) -> set[str]:
        """The uids of the pods that one of `keys` concerns."""
        return {uid for key in keys for uid in self._uids.get(key, ())}

    def schedule(self, uid: str, at: float) -> None:
        """The pod is due at `at`, also if it was due at another time before."""
        if uid in self._held and self._due.get(uid) != at:
            self._due[uid] = at
            heapq.heappush(self._queue, (at, uid))

    def take_due(self, now: float) -> Iterator[str]:
        """The uids of the pods that are due; each is not due any more."""
        while self._queue and self._queue[0][0] <= now:
            at, uid = heapq.heappop(self._queue)
            if self._due.get(uid) == at:
                del self._due[uid]
                yield uid

    def next_due(self) -> float:
        """When the next pod is due; it may have been put off since."""
        return self._queue[0][0] if self._queue else math.inf

    def _unlink(self, pod: GatedPod) -> None:
        for key in _keys(pod):
            self._uids[key].discard(pod.uid)
            if not self._uids[key]:
                del self._uids[key]


def _keys(pod: GatedPod) -> frozenset[str]:
    return frozenset(key for wanted in pod.request.models for key in keys_of_wanted(wanted))
