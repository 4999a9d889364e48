"""What is asked of hubs, on behalf of all objects: not too much at one time, and nothing of who wants to be left alone.

A question that waits here may be given up for nothing; one that the resolver has is sent. So of a thousand
objects that begin together, few have asked a hub when it says that they are too many. Called by `attempt`.
"""

import asyncio

from model_provisioner.controller.stores.store_client import expect
from model_provisioner.controller.transfers.rate_limits import RateLimits
from model_provisioner.controller.workers.child_process import WorkerProcess
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.worker_protocol.messages import QUESTIONS_AT_ONCE, Resolve, ResolvedAnswer

_ANSWER_SECONDS = 60.0


class ResolveClient:
    """`resolver` is the process that asks; `rate_limits` is heeded by transfers too."""

    def __init__(self, resolver: WorkerProcess, rate_limits: RateLimits) -> None:
        self._resolver = resolver
        self._rate_limits = rate_limits
        self._semaphore = asyncio.Semaphore(QUESTIONS_AT_ONCE)

    async def resolve(self, request: Resolve) -> ResolvedAnswer:
        """Raises ProvisionError, RateLimited without a question where the hub has said so before."""
        if request.ref.startswith("local:"):
            return await self._call(request)
        async with self._semaphore:
            self._rate_limits.check(request.endpoint)
            try:
                return await self._call(request)
            except ProvisionError as error:
                self._rate_limits.record(request.endpoint, error)
                raise

    async def _call(self, request: Resolve) -> ResolvedAnswer:
        return expect(ResolvedAnswer, await self._resolver.call(request, seconds=_ANSWER_SECONDS))
