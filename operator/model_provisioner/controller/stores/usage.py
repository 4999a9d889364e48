"""Looks at the mounted volumes now and then: how much is free, and how much does nobody hold? For the metrics alone.

Downloads measure a volume when they need to know. The look is the keeper's, so a file system that does
not answer keeps nobody waiting but the next look at itself. It is never given up: that would end the keeper.
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
_NO_STORE_YET_SECONDS = 5.0
_MAX_AGE_SECONDS = 600.0  # then the next look should have ended five minutes ago


class VolumeUsageCollector:
    """Run `run` as a task; `usages` has what was found at the last look, and not what could not be looked at."""

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
        """The mounted ones."""
        return self._stores.claims

    @property
    def usages(self) -> Mapping[Claim, Usage]:
        """Those that stand while the next look takes its time go when it takes too long."""
        oldest = self._monotonic() - _MAX_AGE_SECONDS
        return {claim: usage for claim, (usage, measured_at) in self._measured.items() if measured_at >= oldest}

    async def run(self) -> None:
        """Looks at all claims side by side, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for claim in self.claims:
                tasks.create_task(self._collect_periodically(claim))

    async def _collect_periodically(self, claim: Claim) -> None:
        """Every five minutes, and soon again where the first model has still to make the store."""
        while True:
            has_store = await self._collect(claim)
            await self._sleep(_INTERVAL_SECONDS if has_store else _NO_STORE_YET_SECONDS)

    async def _collect(self, claim: Claim) -> bool:
        """False where there is no store yet."""
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
