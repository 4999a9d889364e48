"""What is asked of hubs, on behalf of all objects: not too much at one time, and nothing of who wants to be left alone.

A question that waits here may be given up for nothing; one that the resolver has is sent. So of a thousand
objects that begin together, few have asked a hub when it says that they are too many. Called by `attempt`.
"""

import asyncio

from model_provisioner.controller.holdback import HoldBack
from model_provisioner.controller.stores import expect
from model_provisioner.controller.workers import WorkerProcess
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.transfer.protocol import QUESTIONS_AT_ONCE, Resolve, Resolved

_ANSWER_SECONDS = 60.0


class Hubs:
    """`resolver` is the process that asks; `holdback` is heeded by transfers too."""

    def __init__(self, resolver: WorkerProcess, holdback: HoldBack) -> None:
        self._resolver = resolver
        self._holdback = holdback
        self._places = asyncio.Semaphore(QUESTIONS_AT_ONCE)

    async def resolve(self, request: Resolve) -> Resolved:
        """Raises ProvisionError, RateLimited without a question where the hub has said so before."""
        if request.ref.startswith("local:"):
            return await self._ask(request)
        async with self._places:
            self._holdback.check(request.endpoint)
            try:
                return await self._ask(request)
            except ProvisionError as error:
                self._holdback.heed(request.endpoint, error)
                raise

    async def _ask(self, request: Resolve) -> Resolved:
        return expect(Resolved, await self._resolver.call(request, seconds=_ANSWER_SECONDS))
