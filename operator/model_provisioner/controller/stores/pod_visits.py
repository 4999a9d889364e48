"""What is looked at on a claim that the operator does not mount, while its worker pod is connected anyway.

A visit begins when the pod has connected, and goes round every four minutes until the pod has ended: the records of
Ready objects, their files, what deleted objects left, and the free bytes of the volume. None of it starts a pod, and
since a pod ends after a minute without work, a round never keeps one. Run by `controller.start_stores`; what a step
does is decided in its own module.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.store.claim import Claim

_LOG = logging.getLogger(__name__)
_INTERVAL_SECONDS = 240.0
"""Longer than a pod without work lives: a round is a request, from which that minute counts anew. Shorter than a
confirmation of the records holds (`domain.store.confirmation`)."""

Step = Callable[[Claim], Awaitable[None]]


class PodVisits:
    """Run `run` as a task. `steps` are made in this order; one that fails is left to the next round.

    `stores` start no worker pod. `sleep` is in seconds.
    """

    def __init__(
        self,
        stores: StoreClient,
        steps: Sequence[Step],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._stores = stores
        self._steps = steps
        self._sleep = sleep
        self._arrived = asyncio.Queue[Claim]()
        self._visited: dict[Claim, asyncio.Lock] = {}

    def begin(self, claim: Claim) -> None:
        """The worker pod of `claim` has connected."""
        self._arrived.put_nowait(claim)

    async def run(self) -> None:
        """Makes the visits until cancelled, those of several claims at one time."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat())
            while True:
                claim = await self._arrived.get()
                lock = self._visited.setdefault(claim, asyncio.Lock())
                tasks.create_task(self._go_round(claim, lock))  # it does not sleep: at its end, kopf waits for it

    async def _repeat(self) -> None:
        while True:
            await self._sleep(_INTERVAL_SECONDS)
            for claim in list(self._visited):
                if self._stores.is_visited(claim):
                    self.begin(claim)
                elif not self._visited[claim].locked():
                    del self._visited[claim]

    async def _go_round(self, claim: Claim, lock: asyncio.Lock) -> None:
        async with lock:
            for step in self._steps:
                try:
                    await step(claim)
                except ProvisionError as error:
                    what = f"{claim.namespace}/{claim.name}"
                    _LOG.info("%s was not looked at by its worker pod: %s: %s", what, error.reason, error.message)
