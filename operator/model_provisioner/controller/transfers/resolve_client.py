"""Sends resolve requests to the resolver process: few at one time, and none to a hub that has answered 429.

A request that waits here can be cancelled; one that the resolver has is sent to the hub. Therefore, of a thousand
objects that start together, only few have sent a request when the hub answers 429. Called by
`controller.reconcile.attempt`; what a ref means is decided in the resolver process.
"""

import asyncio

from model_provisioner.controller.stores.store_client import expect
from model_provisioner.controller.transfers.rate_limits import RateLimits
from model_provisioner.controller.workers.child_process import WorkerProcess
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.worker_protocol.messages import MAX_HUB_REQUESTS, Resolve, ResolvedAnswer

_ANSWER_SECONDS = 60.0
_HUB_REQUESTS = 2  # metadata, and the access check of a gated repository


def answer_seconds(response_timeout: float) -> float:
    """How long the resolver may take if the hub may take `response_timeout` seconds to begin each response.

    The rest is for connections and bodies. It must be longer than the worker's own limits, whose errors say more.
    """
    return _HUB_REQUESTS * response_timeout + _ANSWER_SECONDS


class ResolveClient:
    """`resolver` is the process that sends the requests; `rate_limits` are shared with the transfers.

    A resolver that does not answer a request within `seconds` is replaced.
    """

    def __init__(self, resolver: WorkerProcess, rate_limits: RateLimits, seconds: float = _ANSWER_SECONDS) -> None:
        self._resolver = resolver
        self._rate_limits = rate_limits
        self._seconds = seconds
        self._semaphore = asyncio.Semaphore(MAX_HUB_REQUESTS)

    async def resolve(self, request: Resolve) -> ResolvedAnswer:
        """Raises ProvisionError; RateLimited, without a request, if the Retry-After of the hub is not over."""
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
        return expect(ResolvedAnswer, await self._resolver.call(request, seconds=self._seconds))
