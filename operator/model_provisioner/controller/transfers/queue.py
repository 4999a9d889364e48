"""The transfer queue: at most N transfers run at one time; the most urgent one in the queue is next.

A slot is a worker process. Nothing is stored: after a restart every object joins the queue again. Until all objects
that existed at the start have done so, or five seconds have passed, no slot is given away; otherwise the first object
to join would be served before the most urgent one. The order is `domain.scheduling.queueing`. Called by
`controller.transfers.shared_transfer`; `controller.app` and `controller.reconcile` report which objects are synced.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from itertools import count

from model_provisioner.controller.workers.child_process import WorkerProcess
from model_provisioner.domain.scheduling.queueing import Share, Waiting, next_in_line

_SYNC_SECONDS = 5.0


class TransferQueue:
    """`workers` are the slots: each one runs one transfer at a time."""

    def __init__(self, workers: list[WorkerProcess]) -> None:
        self._size = len(workers)
        self._free = list(workers)
        self._shares: dict[str, Share] = {}
        self._sequence = count(1)
        self._waiters: dict[str, tuple[Waiting, asyncio.Future[WorkerProcess]]] = {}
        self._unsynced: set[str] = set()

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
    async def acquire(self, waiting: Waiting, synced: Collection[str] = ()) -> AsyncIterator[WorkerProcess]:
        """Waits for a slot and holds it while the block runs. A cancelled caller leaves the queue and loses no slot.

        `synced` are the uids of the objects that this entry stands for, as in `mark_synced`.
        """
        future: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()
        self._waiters[waiting.uid] = (waiting, future)
        self._unsynced.difference_update(synced)
        self._dispatch()
        try:
            worker = await future
        except asyncio.CancelledError:
            self._cancel(waiting, future)
            raise
        try:
            yield worker
        finally:
            self._release(waiting, worker)

    def reorder(self, waiting: Waiting) -> None:
        """Replaces the entry with the same uid, if it is still in the queue."""
        if waiting.uid in self._waiters:
            _, future = self._waiters[waiting.uid]
            self._waiters[waiting.uid] = (waiting, future)

    @property
    def size(self) -> int:
        """The number of slots."""
        return self._size

    def running(self, namespace: str) -> int:
        """The number of slots that transfers of `namespace` hold."""
        return self._share(namespace).running

    def waiting(self, namespace: str) -> int:
        """The number of transfers of `namespace` in the queue."""
        return sum(waiting.namespace == namespace for waiting, _ in self._waiters.values())

    @property
    def busy(self) -> int:
        """The number of slots that are taken."""
        return self._size - len(self._free)

    @property
    def stuck(self) -> bool:
        """True if slots are free and transfers wait. This must never last; the liveness probe reads it."""
        return bool(self._free) and bool(self._waiters)

    def _share(self, namespace: str) -> Share:
        return self._shares.get(namespace, Share())

    def _stop_holding(self) -> None:
        self._unsynced.clear()
        self._dispatch()

    def _cancel(self, waiting: Waiting, future: asyncio.Future[WorkerProcess]) -> None:
        self._waiters.pop(waiting.uid, None)
        if future.done() and not future.cancelled():
            self._release(waiting, future.result())

    def _release(self, waiting: Waiting, worker: WorkerProcess) -> None:
        self._free.append(worker)
        self._shares[waiting.namespace] = self._share(waiting.namespace).ended()
        self._dispatch()

    def _dispatch(self) -> None:
        if self._unsynced:
            return
        while self._free and (first := next_in_line((waiting for waiting, _ in self._waiters.values()), self._shares)):
            _, future = self._waiters.pop(first.uid)
            if not future.done():
                self._shares[first.namespace] = self._share(first.namespace).served(next(self._sequence))
                future.set_result(self._free.pop(0))
