"""The transfer queue: at most N transfers run at one time; the most urgent one in the queue is next.

A slot is a worker process. Nothing is stored: after a restart every object joins the queue again. Until all objects
that existed at the start have done so, or five seconds have passed, no slot is given away; otherwise the first object
to join would be served before the most urgent one. A namespace that waits without a slot gets one of another namespace:
the queue asks a running transfer to give its slot back. The order and the choice are `domain.scheduling.queueing`.

`TransferQueue` is the queue of one lane, `Lanes` has that of each. Called by `controller.transfers.shared_transfer`;
`controller.app` and `controller.reconcile` report which objects are synced.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from model_provisioner.domain.scheduling.lanes import Lane
from model_provisioner.domain.scheduling.queueing import Running, Share, Turns, Waiting, next_in_line, next_stop
from model_provisioner.worker_processes.worker import Worker

_SYNC_SECONDS = 5.0
_TURNS = Turns()


class WithdrawnError(Exception):
    """The entry has left the queue because of `TransferQueue.withdraw`."""


@dataclass(slots=True, eq=False)
class Slot:
    """The right to run one transfer in `worker`.

    The holder ends its work soon and gives the slot back after `wanted_back` is set. `stopped` is True if the queue has
    set it, for another namespace. `place` is the worker that `queue` counts as taken. It differs from `worker` after
    the transfer has moved to another lane, because a transfer stays in its process.
    """

    worker: Worker
    place: Worker
    queue: "TransferQueue"
    wanted_back: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: bool = False


class TransferQueue:
    """The queue of one lane. `workers` are the slots; a worker that is there several times runs several transfers.

    The first free one of them is taken, so that models that come one after the other need one process and not all.
    `turns` says how long a transfer keeps its slot while another namespace waits. `monotonic` is in seconds.
    """

    def __init__(
        self,
        workers: Sequence[Worker],
        turns: Turns = _TURNS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._size = len(workers)
        self._free = list(workers)
        self._turns = turns
        self._monotonic = monotonic
        self._shares: dict[str, Share] = {}
        self._sequence = count(1)
        self._waiters: dict[str, tuple[Waiting, int, asyncio.Future[Slot]]] = {}
        self._running: dict[str, tuple[Running, Slot]] = {}
        self._unsynced: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def hold_until_synced(self, uids: Collection[str]) -> None:
        """Gives no slot away until `mark_synced` was called for each of `uids`, or five seconds have passed."""
        self._unsynced = set(uids)
        asyncio.get_running_loop().call_later(_SYNC_SECONDS, self._stop_holding)

    def mark_synced(self, uid: str) -> None:
        """The object with this uid is in the queue, or does not need a slot."""
        if self._unsynced:
            self._unsynced.discard(uid)
            self._dispatch()

    @contextlib.asynccontextmanager
    async def acquire(self, waiting: Waiting, synced: Collection[str] = (), stops: int = 0) -> AsyncIterator[Slot]:
        """Waits for a slot and holds it while the block runs. A cancelled caller leaves the queue and loses no slot.

        `synced` are the uids of the objects that this entry stands for, as in `mark_synced`. `stops` counts how often
        the transfer has given back a slot that was `stopped`. Raises WithdrawnError after `withdraw`.
        """
        future: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._waiters[waiting.uid] = (waiting, stops, future)
        self._unsynced.difference_update(synced)
        self._dispatch()
        try:
            slot = await future
        except asyncio.CancelledError:
            self._cancel(waiting, future)
            raise
        try:
            yield slot
        finally:
            slot.queue._release(waiting.uid, slot)

    def reorder(self, waiting: Waiting) -> None:
        """Replaces the entry with the same uid, if it is still in the queue or runs."""
        if waiting.uid in self._waiters:
            _, stops, future = self._waiters[waiting.uid]
            self._waiters[waiting.uid] = (waiting, stops, future)
        elif waiting.uid in self._running:
            running, slot = self._running[waiting.uid]
            self._running[waiting.uid] = (replace(running, waiting=waiting), slot)

    def withdraw(self, uid: str) -> None:
        """Takes the entry out of the queue, if it is still there; its `acquire` raises WithdrawnError."""
        if uid in self._waiters:
            _, _, future = self._waiters.pop(uid)
            if not future.done():
                future.set_exception(WithdrawnError())

    def hand_over(self, uid: str, target: "TransferQueue") -> bool:
        """Lets the running transfer `uid` run on with a slot of the lane `target`. False if no slot is free there."""
        running, slot = self._running[uid]
        if running.stopping or not target._free:
            return False
        self._release(uid, slot)
        slot.place, slot.queue = target._take_worker(), target
        target._take(running, slot)
        return True

    @property
    def size(self) -> int:
        """The number of slots."""
        return self._size

    def running(self, namespace: str) -> int:
        """The number of slots that transfers of `namespace` hold."""
        return self._share(namespace).running

    def waiting(self, namespace: str) -> int:
        """The number of transfers of `namespace` in the queue."""
        return sum(waiting.namespace == namespace for waiting, _, _ in self._waiters.values())

    @property
    def busy(self) -> int:
        """The number of slots that are taken."""
        return self._size - len(self._free)

    @property
    def is_used(self) -> bool:
        """Whether a transfer runs or waits."""
        return self.busy > 0 or bool(self._waiters)

    @property
    def stuck(self) -> bool:
        """True if slots are free and transfers wait. This must never last; the liveness probe reads it."""
        return bool(self._free) and bool(self._waiters)

    def _share(self, namespace: str) -> Share:
        return self._shares.get(namespace, Share())

    def _stop_holding(self) -> None:
        self._unsynced.clear()
        self._dispatch()

    def _cancel(self, waiting: Waiting, future: asyncio.Future[Slot]) -> None:
        self._waiters.pop(waiting.uid, None)
        if future.done() and not future.cancelled() and not future.exception():
            self._release(waiting.uid, future.result())

    def _release(self, uid: str, slot: Slot) -> None:
        self._free.append(slot.place)
        running, _ = self._running.pop(uid)
        namespace = running.waiting.namespace
        self._shares[namespace] = self._share(namespace).ended()
        self._dispatch()

    def _dispatch(self) -> None:
        if self._unsynced:
            return
        while self._free and (first := next_in_line(self._entries(), self._shares)):
            _, stops, future = self._waiters.pop(first.uid)
            if not future.done():
                place = self._take_worker()
                slot = Slot(place, place, self)
                self._take(Running(first, self._monotonic(), stops), slot)
                future.set_result(slot)
        self._stop_for_others()

    def _take_worker(self) -> Worker:
        first = min(self._free, key=self._workers.index)
        self._free.remove(first)
        return first

    def _take(self, running: Running, slot: Slot) -> None:
        namespace = running.waiting.namespace
        self._shares[namespace] = self._share(namespace).served(next(self._sequence))
        self._running[running.waiting.uid] = (running, slot)

    def _entries(self) -> list[Waiting]:
        return [waiting for waiting, _, _ in self._waiters.values()]

    def _stop_for_others(self) -> None:
        """Asks for the slots that namespaces without one wait for, now or when a turn is over."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._free:
            return
        now = self._monotonic()
        while stop := next_stop(self._entries(), [running for running, _ in self._running.values()], now, self._turns):
            if stop.at > now:
                self._timer = asyncio.get_running_loop().call_later(stop.at - now, self._dispatch)
                return
            running, slot = self._running[stop.uid]
            self._running[stop.uid] = (replace(running, stopping=True), slot)
            slot.stopped = True
            slot.wanted_back.set()


class Lanes:
    """The queue of each lane."""

    def __init__(self, queues: Mapping[Lane, TransferQueue]) -> None:
        self._queues = queues

    def __getitem__(self, lane: Lane) -> TransferQueue:
        return self._queues[lane]

    def acquire(
        self, lane: Lane, waiting: Waiting, synced: Collection[str], stops: int
    ) -> contextlib.AbstractAsyncContextManager[Slot]:
        """As `TransferQueue.acquire`, in `lane`; `synced` counts in each lane."""
        for queue in self._queues.values():
            if queue is not self._queues[lane]:
                for uid in synced:
                    queue.mark_synced(uid)
        return self._queues[lane].acquire(waiting, synced, stops)

    def hold_until_synced(self, uids: Collection[str]) -> None:
        """As `TransferQueue.hold_until_synced`, in each lane."""
        for queue in self._queues.values():
            queue.hold_until_synced(uids)

    def mark_synced(self, uid: str) -> None:
        """As `TransferQueue.mark_synced`, in each lane."""
        for queue in self._queues.values():
            queue.mark_synced(uid)

    @property
    def size(self) -> int:
        """The number of slots for downloads."""
        return self._queues[Lane.FETCHING].size

    @property
    def busy(self) -> int:
        """The number of transfers that run."""
        return sum(queue.busy for queue in self._queues.values())

    @property
    def is_used(self) -> bool:
        """As `TransferQueue.is_used`, of any lane."""
        return any(queue.is_used for queue in self._queues.values())

    @property
    def stuck(self) -> bool:
        """As `TransferQueue.stuck`, of any lane."""
        return any(queue.stuck for queue in self._queues.values())

    def running(self, namespace: str) -> int:
        """The number of transfers of `namespace` that run."""
        return sum(queue.running(namespace) for queue in self._queues.values())

    def waiting(self, namespace: str) -> int:
        """The number of transfers of `namespace` in the queues."""
        return sum(queue.waiting(namespace) for queue in self._queues.values())
