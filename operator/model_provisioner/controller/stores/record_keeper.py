"""Sees to it that each Ready object has its holder record on its store: at the start, then every minute.

A record can be lost, and a backup restores an object under a new uid, for which there is none. Without a record,
`prune` would delete the files of a Ready model. After each pass the store gets a confirmation, which `prune` demands
(`domain.store.confirmation`). What a new record has in it is decided in `domain.store.holders.rewritten`. Started by
`controller.app`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import islice

from model_provisioner.controller.stores.object_index import ObjectIndex
from model_provisioner.controller.stores.store_client import StoreClient, only_store_id
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.store.claim import Claim

_LOG = logging.getLogger(__name__)
_INTERVAL_SECONDS = 60.0
_BATCH_SIZE = 200  # so that other requests for the volume are answered in between


class RecordKeeper:
    """Run `run` as a task. The index must be complete before. `sleep` is in seconds."""

    def __init__(
        self, stores: StoreClient, index: ObjectIndex, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._stores = stores
        self._index = index
        self._sleep = sleep

    async def run(self) -> None:
        """Records the Ready objects of all claims concurrently until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for claim in self._stores.claims:
                tasks.create_task(self._record_periodically(claim))

    async def _record_periodically(self, claim: Claim) -> None:
        while True:
            try:
                await self._record(claim)
            except ProvisionError as error:
                what = f"{claim.namespace}/{claim.name}"
                _LOG.info("the records on %s are not confirmed: %s: %s", what, error.reason, error.message)
            await self._sleep(_INTERVAL_SECONDS)

    async def _record(self, claim: Claim) -> None:
        """An object that becomes Ready during the pass has its record already: it was settled."""
        store_id, holdings = only_store_id(claim, self._index.store_ids(claim)), self._index.ready(claim)
        complete, following = True, tuple(islice(holdings, _BATCH_SIZE))
        is_last = False
        while not is_last:
            batch, following = following, tuple(islice(holdings, _BATCH_SIZE))
            is_last = not following
            answer = await self._stores.record_ready(claim, store_id, batch, confirm=complete and is_last)
            complete = complete and answer.complete
            if answer.uids:
                where, uids = f"{claim.namespace}/{claim.name}", ", ".join(answer.uids)
                _LOG.warning("%s: Ready objects had no record on the store and got one: %s", where, uids)
