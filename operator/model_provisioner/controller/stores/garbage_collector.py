"""Removes records and partial files of deleted objects from the mounted stores: at the start, then every hour.

The store on a claim that a worker pod mounts is swept while the pod is connected (`pod_visits`), at most once an hour.

If an object is deleted while no operator runs, nothing else removes its record and its parts. What is removed is
decided in `domain.store.holders.orphaned`. Decided here: when a store is swept, and that it is not swept while it may
be the wrong one. Started by `controller.start_stores`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection

from model_provisioner.controller.stores.object_index import ObjectIndex
from model_provisioner.controller.stores.store_client import LiveObjects, StoreClient, only_store_id
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.store.claim import Claim

_LOG = logging.getLogger(__name__)
_INTERVAL_SECONDS = 3600.0


class GarbageCollector:
    """Run `run` as a task.

    `active_uids` returns the uids of the objects that have a reconciler; the index may not have them yet. `sleep` is in
    seconds, as `monotonic` is.
    """

    def __init__(
        self,
        stores: StoreClient,
        index: ObjectIndex,
        active_uids: Callable[[], Collection[str]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stores = stores
        self._index = index
        self._active_uids = active_uids
        self._sleep = sleep
        self._monotonic = monotonic
        self._swept_at: dict[Claim, float] = {}

    async def visit(self, claim: Claim) -> None:
        """Sweeps the store on `claim`, whose worker pod is connected, unless that was done within the hour."""
        now = self._monotonic()
        self._swept_at = {known: at for known, at in self._swept_at.items() if now - at < _INTERVAL_SECONDS}
        if claim not in self._swept_at:
            self._swept_at[claim] = now
            await self._sweep_once(claim)

    async def run(self) -> None:
        """Sweeps all claims concurrently until cancelled. The index must be complete before."""
        async with asyncio.TaskGroup() as tasks:
            for claim in self._stores.claims:
                tasks.create_task(self._sweep_periodically(claim))

    async def _sweep_periodically(self, claim: Claim) -> None:
        while True:
            await self._sweep_once(claim)
            await self._sleep(_INTERVAL_SECONDS)

    async def _sweep_once(self, claim: Claim) -> None:
        try:
            store_id = only_store_id(claim, self._index.store_ids(claim))
            swept = await self._stores.sweep(claim, store_id, lambda: self._live_objects(claim))
        except ProvisionError as error:
            _LOG.warning("%s/%s is not swept: %s: %s", claim.namespace, claim.name, error.reason, error.message)
            return
        if swept.parts or swept.records:
            what = f"{len(swept.parts)} parts and {len(swept.records)} records of objects that are gone"
            _LOG.info("swept %s/%s: removed %s", claim.namespace, claim.name, what)

    def _live_objects(self, claim: Claim) -> LiveObjects:
        """A worker pod, which is in the namespace of `claim`, is told of no other one."""
        not_listed = frozenset(self._active_uids()) - self._index.uids()
        is_own = self._stores.is_mounted(claim)
        namespaces = self._index.namespaces if is_own else (claim.namespace,)
        uids, names = self._index.uids(namespaces), self._index.names(namespaces)
        return LiveObjects(namespaces, tuple(uids | not_listed), tuple(names))
