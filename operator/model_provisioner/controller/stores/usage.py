"""Surveys the mounted volumes every five minutes, for the metrics: free bytes, and bytes that no object holds.

A volume that a worker pod mounts is surveyed while the pod is connected (`pod_visits`). Transfers measure a volume
themselves. A survey has no timeout, because a timeout would kill the store worker; a volume that hangs delays only its
own next survey. Started by `controller.start_stores`, read by `controller.process.collectors`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from model_provisioner.controller.stores.object_index import ObjectIndex
from model_provisioner.controller.stores.store_client import StoreClient, only_store_id
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.space import Usage

_LOG = logging.getLogger(__name__)
_INTERVAL_SECONDS = 300.0
_LOOK_SECONDS = 5.0
_MAX_AGE_SECONDS = 600.0  # two intervals: by then the next survey should have ended


class VolumeUsageCollector:
    """Run `run` as a task. `sleep` and `monotonic` are in seconds."""

    def __init__(
        self,
        stores: StoreClient,
        index: ObjectIndex,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stores = stores
        self._index = index
        self._sleep = sleep
        self._monotonic = monotonic
        self._measured: dict[Claim, tuple[Usage, float]] = {}

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The mounted claims, and those that a worker pod has surveyed within ten minutes."""
        return tuple(dict.fromkeys((*self._stores.claims, *self.usages)))

    @property
    def usages(self) -> Mapping[Claim, Usage]:
        """The last result of each claim, except claims whose survey failed or is older than ten minutes."""
        oldest = self._monotonic() - _MAX_AGE_SECONDS
        return {claim: usage for claim, (usage, measured_at) in self._measured.items() if measured_at >= oldest}

    async def run(self) -> None:
        """Surveys all claims concurrently until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for claim in self._stores.claims:
                tasks.create_task(self._collect_periodically(claim))

    async def visit(self, claim: Claim) -> None:
        """Surveys the volume of `claim`, whose worker pod is connected, and forgets results that are too old."""
        await self._collect(claim)
        oldest = self._monotonic() - _MAX_AGE_SECONDS
        self._measured = {known: found for known, found in self._measured.items() if found[1] >= oldest}

    async def _collect_periodically(self, claim: Claim) -> None:
        """Every five minutes, and soon after the first model has created the store."""
        while True:
            if await self._collect(claim):
                await self._sleep(_INTERVAL_SECONDS)
            else:
                await self._wait_for_store(claim)

    async def _wait_for_store(self, claim: Claim) -> None:
        """Returns when the status of an object names the store, or after five minutes.

        The volume is not asked meanwhile, so that no store worker runs for an operator without a model.
        """
        for _ in range(round(_INTERVAL_SECONDS / _LOOK_SECONDS)):
            await self._sleep(_LOOK_SECONDS)
            if self._index.store_ids(claim):
                return

    async def _collect(self, claim: Claim) -> bool:
        """Returns False if there is no store yet."""
        try:
            usage = await self._survey(claim)
        except ProvisionError as error:
            _LOG.info("%s/%s was not surveyed: %s: %s", claim.namespace, claim.name, error.reason, error.message)
            self._measured.pop(claim, None)
            return True
        if usage is None:
            self._measured.pop(claim, None)
            return False
        self._measured[claim] = usage, self._monotonic()
        return True

    async def _survey(self, claim: Claim) -> Usage | None:
        return await self._stores.survey(claim, only_store_id(claim, self._index.store_ids(claim)))
