"""Checks every minute whether the files of all Ready models exist with the recorded size.

One request checks many models, so that ten thousand idle objects cost little. A reconciler with nothing to do waits
here until its files may have changed. It then checks them itself: nothing is decided here. Called by
`controller.reconcile`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.modeldownload import Model
from model_provisioner.domain.store.claim import Claim

_LOG = logging.getLogger(__name__)
_INTERVAL_SECONDS = 60.0
_BATCH_SIZE = 200


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    """A call of `until_notified`; the end of `notified` ends it."""

    claim: Claim
    model: Model
    notified: asyncio.Future[None]


class FileMonitor:
    """Run `run` as a task; reconcilers wait in `until_notified`. `sleep` is in seconds."""

    def __init__(self, stores: StoreClient, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._stores = stores
        self._sleep = sleep
        self._waiters: set[_Waiter] = set()

    async def until_notified(self, claim: Claim, model: Model) -> None:
        """Returns when a file of `model` is missing or has another size, or when its store could not be checked.

        Never returns if `claim` is not mounted.
        """
        if claim not in self._stores.claims:
            await asyncio.Event().wait()  # the state of its models stays as it is until it is mounted again
        waiter = _Waiter(claim, model, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        try:
            await waiter.notified
        finally:
            self._waiters.discard(waiter)

    def notify(self, claim: Claim, model: Model) -> None:
        """Ends `until_notified` of all models that share a file with `model`: its content was found to be wrong."""
        self.notify_paths(claim, {file.path for file in model.files})

    def notify_paths(self, claim: Claim, paths: Collection[str]) -> None:
        """Ends `until_notified` of all models with one of the files `paths`."""
        _notify_affected((waiter for waiter in self._waiters if waiter.claim == claim), paths)

    async def run(self) -> None:
        """Checks each claim every minute until cancelled. A volume that hangs delays only its own models."""
        async with asyncio.TaskGroup() as tasks:
            for claim in self._stores.claims:
                tasks.create_task(self._check_periodically(claim))

    async def _check_periodically(self, claim: Claim) -> None:
        while True:
            await self._sleep(_INTERVAL_SECONDS)
            for store_id, waiters in list(self._batches(claim)):
                await self._check(claim, store_id, waiters)

    def _batches(self, claim: Claim) -> Iterator[tuple[str, list[_Waiter]]]:
        by_store: dict[str, list[_Waiter]] = {}
        for waiter in self._waiters:
            if waiter.claim == claim:
                by_store.setdefault(waiter.model.store_id, []).append(waiter)
        for store_id, waiters in by_store.items():
            remaining = iter(waiters)
            while batch := list(islice(remaining, _BATCH_SIZE)):
                yield store_id, batch

    async def _check(self, claim: Claim, store_id: str, waiters: list[_Waiter]) -> None:
        files: dict[FileRecord, None] = {file: None for waiter in waiters for file in waiter.model.files}
        try:
            missing = frozenset((await self._stores.check(claim, store_id, tuple(files))).missing)
        except ProvisionError as error:
            _LOG.info("the store on %s/%s could not be looked at: %s", claim.namespace, claim.name, error)
            missing = frozenset(file.path for file in files)
        _notify_affected(waiters, missing)


def _notify_affected(waiters: Iterable[_Waiter], paths: Collection[str]) -> None:
    """Notifies those of `waiters` whose model has a file in `paths`."""
    for waiter in waiters:
        if not waiter.notified.done() and any(file.path in paths for file in waiter.model.files):
            waiter.notified.set_result(None)
