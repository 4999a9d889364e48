"""Sends resolve requests to the resolver process: few at one time, and none with a credential that a hub has
answered with 429.

A request that waits here can be cancelled; one that the resolver has is sent to the hub. Therefore, of a thousand
objects that start together, only few have sent a request when the hub answers 429. Called by
`controller.reconcile.attempt`, and by `addresses` for a transfer that needs an address; what a ref means is decided in
the resolver process.
"""

from model_provisioner.controller.stores.store_client import expect
from model_provisioner.controller.transfers.question_places import QuestionPlaces
from model_provisioner.controller.transfers.rate_limits import RateLimits
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.network.response_time import DEFAULT_RESPONSE_SECONDS, resolve_call_seconds
from model_provisioner.domain.scheduling.hub_questions import Question
from model_provisioner.worker_processes.worker import Worker
from model_provisioner.worker_protocol.messages import (
    MAX_HUB_REQUESTS,
    AccessProved,
    Locate,
    Located,
    ProveAccess,
    Resolve,
    ResolvedAnswer,
)


class ResolveClient:
    """`resolver` is the process that sends the requests; `rate_limits` are shared with the transfers.

    `response_timeout` is how many seconds a source may take until its answer begins, as the resolver was told.
    """

    def __init__(
        self, resolver: Worker, rate_limits: RateLimits, response_timeout: float = DEFAULT_RESPONSE_SECONDS
    ) -> None:
        self._resolver = resolver
        self._rate_limits = rate_limits
        self._seconds = resolve_call_seconds(response_timeout)
        self._places = QuestionPlaces(MAX_HUB_REQUESTS)

    async def resolve(self, request: Resolve, namespace: str) -> ResolvedAnswer:
        """The answer to `request` for an object in `namespace`.

        Raises ProvisionError; RateLimited, without a request, if the hub's Retry-After for its token is not over.
        """
        if request.ref.startswith("local:"):
            return await self._call(request)
        async with self._places.place(Question(namespace, str(Origin.of(request.endpoint)))):
            self._rate_limits.check(request.endpoint, request.credentials)
            try:
                return await self._call(request)
            except ProvisionError as error:
                self._rate_limits.record(request.endpoint, request.credentials, error)
                raise

    async def address(self, request: Locate) -> Address:
        """Where the bytes of a file are now. It needs no place: a transfer that runs asks for one file at one time.

        Raises ProvisionError; RateLimited as `resolve` does.
        """
        self._rate_limits.check(request.endpoint, request.credentials)
        try:
            return expect(Located, await self._resolver.call(request, seconds=self._seconds)).address
        except ProvisionError as error:
            self._rate_limits.record(request.endpoint, request.credentials, error)
            raise

    async def prove_access(self, request: ProveAccess) -> None:
        """Returns if the source sends the file to the credentials of `request`. It needs no place, as `address`.

        Raises as that does.
        """
        self._rate_limits.check(request.endpoint, request.credentials)
        try:
            expect(AccessProved, await self._resolver.call(request, seconds=self._seconds))
        except ProvisionError as error:
            self._rate_limits.record(request.endpoint, request.credentials, error)
            raise

    async def _call(self, request: Resolve) -> ResolvedAnswer:
        return expect(ResolvedAnswer, await self._resolver.call(request, seconds=self._seconds))
