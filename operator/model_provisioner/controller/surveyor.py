"""Looks at the mounted volumes now and then: how much is free, and how much does nobody hold? For the metrics alone.

Downloads measure a volume when they need to know. The look is the keeper's, so a file system that does
not answer keeps nobody waiting but the next look.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from model_provisioner.controller.census import Census
from model_provisioner.controller.stores import Claim, Stores
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.space import Usage

_LOG = logging.getLogger(__name__)
_INTERVAL_SECONDS = 300.0
_NO_STORE_YET_SECONDS = 5.0


class Surveyor:
    """Run `run` as a task; `usages` has what was found at the last look, and not what could not be looked at."""

    def __init__(
        self, stores: Stores, census: Census, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._stores = stores
        self._census = census
        self._sleep = sleep
        self._usages: dict[Claim, Usage] = {}

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The mounted ones."""
        return self._stores.claims

    @property
    def usages(self) -> Mapping[Claim, Usage]:
        return self._usages

    async def run(self) -> None:
        """Every five minutes, and soon again where the first model has still to make the store. Until cancelled."""
        while True:
            looked = [await self._look(claim) for claim in self.claims]
            await self._sleep(_INTERVAL_SECONDS if all(looked) else _NO_STORE_YET_SECONDS)

    async def _look(self, claim: Claim) -> bool:
        """False where there is no store yet."""
        self._usages.pop(claim, None)
        store_ids = self._census.store_ids(claim)
        if len(store_ids) > 1:
            return True  # one of them was exchanged, and its objects say so
        try:
            usage = await self._stores.survey(claim, next(iter(store_ids), None))
        except ProvisionError as error:
            _LOG.info("%s/%s was not surveyed: %s: %s", claim.namespace, claim.name, error.reason, error.message)
            return True
        if usage is not None:
            self._usages[claim] = usage
        return usage is not None
