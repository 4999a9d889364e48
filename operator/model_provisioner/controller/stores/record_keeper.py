"""Sees to it that each Ready object has its holder record on its store: at the start, then every two minutes.

A record can be lost, and a backup restores an object under a new uid, for which there is none. Without a record,
`prune` would delete the files of a Ready model. On a claim that the operator does not mount it is done while its worker
pod is connected (`pod_visits`). After each pass the store gets a confirmation, which `prune` demands
(`domain.store.confirmation`). What a new record has in it is decided in `domain.store.holders.rewritten`. Started by
`controller.start_stores`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from itertools import islice

from model_provisioner.controller.stores.object_index import ObjectIndex
from model_provisioner.controller.stores.store_client import StoreClient, only_store_id
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.lifecycle.backoff import Backoff
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.holders import Holder, Holding

_LOG = logging.getLogger(__name__)
_INTERVAL_SECONDS = 120.0  # twice that of the file monitor, which has the store worker started anyway
_INCOMPLETE = Backoff(first=2.0, longest=_INTERVAL_SECONDS)
_BATCH_SIZE = 200  # so that other requests for the volume are answered in between


class RecordKeeper:
    """Run `run` as a task. The index must be complete before. `sleep` is in seconds.

    `recheck` is called with the files of objects that get no record, because the volume does not confirm their content:
    their reconcilers must look at them. `unproven` are the uids of objects on claims of worker pods that are listed
    because they were listed before the start: `unlist` is called with those of them that get no record.
    """

    def __init__(
        self,
        stores: StoreClient,
        index: ObjectIndex,
        recheck: Callable[[Claim, Collection[str]], None] = lambda _claim, _paths: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        unproven: Iterable[str] = (),
        unlist: Callable[[Holder], None] = lambda _holder: None,
    ) -> None:
        self._recheck = recheck
        self._unproven = set(unproven)
        self._unlist = unlist
        self._stores = stores
        self._index = index
        self._sleep = sleep

    async def run(self) -> None:
        """Records the Ready objects of all claims concurrently until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for claim in self._stores.claims:
                tasks.create_task(self._record_periodically(claim))

    async def visit(self, claim: Claim) -> None:
        """Records the Ready objects of `claim`, whose worker pod is connected. Raises ProvisionError."""
        await self._record(claim)

    async def _record_periodically(self, claim: Claim) -> None:
        failures = 0
        while True:
            complete = True
            try:
                complete = await self._record(claim)
            except ProvisionError as error:
                what = f"{claim.namespace}/{claim.name}"
                _LOG.info("the records on %s are not confirmed: %s: %s", what, error.reason, error.message)
            failures = 0 if complete else failures + 1
            await self._sleep(_INTERVAL_SECONDS if complete else _INCOMPLETE.seconds(failures))

    async def _record(self, claim: Claim) -> bool:
        """Returns False if an object is without a record: its reconciler looks at its files now.

        An object that becomes Ready during the pass has its record already: it was settled.
        """
        store_id, holdings = only_store_id(claim, self._index.store_ids(claim)), self._index.ready(claim)
        complete, following = True, tuple(islice(holdings, _BATCH_SIZE))
        is_last = False
        while not is_last:
            batch, following = following, tuple(islice(holdings, _BATCH_SIZE))
            is_last = not following
            answer = await self._stores.record_ready(claim, store_id, batch, confirm=complete and is_last)
            complete = complete and not answer.without
            self._prove(batch, answer.without)
            self._recheck(claim, [file.path for one in batch if one.holder.uid in answer.without for file in one.files])
            if answer.uids:
                where, uids = f"{claim.namespace}/{claim.name}", ", ".join(answer.uids)
                _LOG.warning("%s: Ready objects had no record on the store and got one: %s", where, uids)
        return complete

    def _prove(self, batch: Iterable[Holding], without: Collection[str]) -> None:
        for holder in (one.holder for one in batch):
            if holder.uid in self._unproven and holder.uid in without:
                self._unlist(holder)
            self._unproven.discard(holder.uid)
