"""The places of worker pods: how many may run at one time, in all and in a namespace, and which claim is next.

The order is that of the download queue (`domain.scheduling.queueing`): a namespace with few pods goes first, and one
that waits without a pod gets the place of another when the turn of that is over. Used by `claim_pod`.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from itertools import count

from model_provisioner.domain.scheduling.queueing import Running, Share, Turns, Waiting, next_in_line, next_stop

_TURNS = Turns()


@dataclass(slots=True, eq=False)
class Place:
    """The right to have a pod. The holder gives it back soon after `wanted_back` is set."""

    wanted_back: asyncio.Event = field(default_factory=asyncio.Event)


class Places:
    """`most` in all, `most_of_namespace` in one namespace. `monotonic` is in seconds."""

    def __init__(
        self,
        most: int,
        most_of_namespace: int,
        turns: Turns = _TURNS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._most_of_namespace = most_of_namespace
        self._turns = turns
        self._monotonic = monotonic
        self._shares: dict[str, Share] = {}
        self._sequence = count(1)
        self._waiting: dict[str, tuple[Waiting, asyncio.Future[Place]]] = {}
        self._running: dict[str, tuple[Running, Place]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def has_room(self, namespace: str) -> bool:
        """Whether a pod of `namespace` would get a place now."""
        return not self._is_full and self._has_less_than_its_most(namespace)

    @property
    def _is_full(self) -> bool:
        return len(self._running) >= self._most

    def _has_less_than_its_most(self, namespace: str) -> bool:
        return self._shares.get(namespace, Share()).running < self._most_of_namespace

    def is_wanted(self, namespace: str) -> bool:
        """Whether a claim waits for a place that a pod of `namespace` has."""
        return bool(self._startable()) or any(item.namespace == namespace for item, _ in self._waiting.values())

    @contextlib.asynccontextmanager
    async def acquire(self, waiting: Waiting) -> AsyncIterator[Place]:
        """Waits for a place and holds it while the block runs."""
        future: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        self._waiting[waiting.uid] = waiting, future
        self._dispatch()
        try:
            place = await future
            yield place
        finally:
            self._waiting.pop(waiting.uid, None)
            self._release(waiting.uid)

    def _release(self, uid: str) -> None:
        if uid in self._running:
            running, _ = self._running.pop(uid)
            namespace = running.waiting.namespace
            self._shares[namespace] = self._shares[namespace].ended()
        self._dispatch()

    def _dispatch(self) -> None:
        while not self._is_full and (first := next_in_line(self._startable(), self._shares)):
            _, future = self._waiting.pop(first.uid)
            if not future.done():
                place = Place()
                share = self._shares.get(first.namespace, Share())
                self._shares[first.namespace] = share.served(next(self._sequence))
                self._running[first.uid] = Running(first, self._monotonic()), place
                future.set_result(place)
        self._stop_for_others()

    def _startable(self) -> list[Waiting]:
        """Those whose namespace has less than its most."""
        waiting = [item for item, _ in self._waiting.values()]
        return [item for item in waiting if self._has_less_than_its_most(item.namespace)]

    def _stop_for_others(self) -> None:
        """Asks for the places that namespaces without one wait for, now or when a turn is over."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if not self._is_full:
            return
        now = self._monotonic()
        while stop := next_stop(
            self._startable(), [running for running, _ in self._running.values()], now, self._turns
        ):
            if stop.at > now:
                self._timer = asyncio.get_running_loop().call_later(stop.at - now, self._dispatch)
                return
            running, place = self._running[stop.uid]
            self._running[stop.uid] = replace(running, stopping=True), place
            place.wanted_back.set()
