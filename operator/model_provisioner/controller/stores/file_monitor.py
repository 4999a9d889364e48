"""Checks every minute whether the files of all Ready models exist with the recorded size.

On a claim that the operator does not mount, they are checked while its worker pod is connected (`pod_visits`).

One request checks many models, so that ten thousand idle objects cost little. What looks after an object waits here
until its files may have changed. It then checks them itself: nothing is decided here. Called by
`controller.reconcile`.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.errors import ProvisionError, Retryable
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.modeldownload import Model
from model_provisioner.domain.store.claim import Claim

_LOG = logging.getLogger(__name__)
_INTERVAL_SECONDS = 60.0
_BATCH_SIZE = 200


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """The files of one object. `notify` is called once when one of them is missing or has another size, or when the
    store could not be checked; then the waiter is forgotten. `seen` is called when a worker pod has found them all.
    `volume_name` is the PersistentVolume that they were last seen on, None if not known.
    """

    claim: Claim
    store_id: str
    files: tuple[FileRecord, ...]
    notify: Callable[[], None]
    seen: Callable[[], None] = lambda: None
    volume_name: str | None = None


class FileMonitor:
    """Run `run` as a task; reconcilers wait in `until_notified`. `stores` start no pod. `sleep` is in seconds."""

    def __init__(self, stores: StoreClient, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._stores = stores
        self._sleep = sleep
        self._waiters: defaultdict[Claim, set[Waiter]] = defaultdict(set)

    def is_mounted(self, claim: Claim) -> bool:
        """Whether the operator mounts `claim`; else its files are looked at while a worker pod is connected."""
        return self._stores.is_mounted(claim)

    def add(self, waiter: Waiter) -> None:
        """Has the files of `waiter` looked at, every minute, until it is notified or discarded.

        If its claim is not mounted, they are looked at only by `look`.
        """
        self._waiters[waiter.claim].add(waiter)

    def discard(self, waiter: Waiter) -> None:
        self._waiters[waiter.claim].discard(waiter)

    async def until_notified(self, claim: Claim, model: Model) -> None:
        """Returns when a file of `model` is missing or has another size, or when its store could not be checked.

        If `claim` is not mounted, that is found by `look` only.
        """
        notified = asyncio.Event()
        waiter = Waiter(claim, model.store_id, model.files, notified.set, volume_name=model.volume_name)
        self.add(waiter)
        try:
            await notified.wait()
        finally:
            self.discard(waiter)

    def notify(self, claim: Claim, model: Model) -> None:
        """Ends `until_notified` of all models that share a file with `model`: its content was found to be wrong."""
        self.notify_paths(claim, {file.path for file in model.files})

    def notify_paths(self, claim: Claim, paths: Collection[str]) -> None:
        """Ends `until_notified` of all models with one of the files `paths`."""
        if paths:
            self._notify_affected(list(self._waiters[claim]), paths)

    @property
    def claims_of_pods(self) -> list[Claim]:
        """The claims that have models and that the operator does not mount."""
        return [claim for claim, found in self._waiters.items() if found and not self._stores.is_mounted(claim)]

    def notify_other_volumes(self, claim: Claim, volume_name: str | None) -> None:
        """Ends `until_notified` of the models that were seen on another volume than that `claim` has now, or none."""
        for waiter in list(self._waiters.get(claim, ())):
            if waiter.volume_name not in {None, volume_name}:
                self._notify(waiter)

    def notify_all(self, claim: Claim) -> None:
        """Ends `until_notified` of all models on `claim`: its volume may be gone."""
        for waiter in list(self._waiters.get(claim, ())):
            self._notify(waiter)

    async def look(self, claim: Claim) -> None:
        """Checks the models on `claim`, which is not mounted, by its worker pod, which is connected.

        Raises Retryable if the pod is gone; then nothing is known.
        """
        for store_id, waiters in list(self._batches(claim)):
            for waiter in await self._check(claim, store_id, waiters):
                waiter.seen()

    async def run(self) -> None:
        """Checks each claim now, then every minute, until cancelled. A volume that hangs delays only its own models."""
        async with asyncio.TaskGroup() as tasks:
            for claim in self._stores.claims:
                tasks.create_task(self._check_periodically(claim))

    async def _check_periodically(self, claim: Claim) -> None:
        while True:
            for store_id, waiters in list(self._batches(claim)):
                await self._check(claim, store_id, waiters)
            await self._sleep(_INTERVAL_SECONDS)

    def _batches(self, claim: Claim) -> Iterator[tuple[str, list[Waiter]]]:
        by_store: dict[str, list[Waiter]] = {}
        for waiter in self._waiters[claim]:
            by_store.setdefault(waiter.store_id, []).append(waiter)
        for store_id, waiters in by_store.items():
            remaining = iter(waiters)
            while batch := list(islice(remaining, _BATCH_SIZE)):
                yield store_id, batch

    async def _check(self, claim: Claim, store_id: str, waiters: list[Waiter]) -> list[Waiter]:
        """Notifies those of `waiters` whose files have changed; returns the others, whose files were all found."""
        files: dict[FileRecord, None] = {file: None for waiter in waiters for file in waiter.files}
        try:
            missing = frozenset((await self._stores.check(claim, store_id, tuple(files))).missing)
        except ProvisionError as error:
            if isinstance(error, Retryable) and not self._stores.is_mounted(claim):
                raise
            _LOG.info("the store on %s/%s could not be looked at: %s", claim.namespace, claim.name, error)
            missing = frozenset(file.path for file in files)
        self._notify_affected(waiters, missing)
        return [waiter for waiter in waiters if waiter in self._waiters[claim]]

    def _notify_affected(self, waiters: Iterable[Waiter], paths: Collection[str]) -> None:
        """Notifies those of `waiters` that have a file in `paths`."""
        for waiter in waiters:
            if any(file.path in paths for file in waiter.files):
                self._notify(waiter)

    def _notify(self, waiter: Waiter) -> None:
        """Unless it was discarded meanwhile."""
        known = self._waiters[waiter.claim]
        if waiter in known:
            known.discard(waiter)
            waiter.notify()
