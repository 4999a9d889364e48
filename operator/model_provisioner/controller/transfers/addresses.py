"""Tells a worker where the files are that it fetches, when it asks, with the credentials of the member it fetches for.

Made by `controller.transfers.shared_transfer`, one for each fetch. The resolver process asks the source; an address is
a secret that lives in memory only.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from model_provisioner.aio.allowance import Allowance
from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.controller.stores.store_client import new_request_id
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.store.plan import PlannedFile
from model_provisioner.worker_protocol.messages import AddressGiven, AddressWanted, Failure, Fetch, Locate

Ask = Callable[[Locate], Awaitable[Address]]
_PER_SECOND = 1.0
_SPARE = 10
"""Questions beside the first one for each file. An address lasts for minutes; a worker pod in the wrong hands may ask
without an end, and a source would limit the operator for that."""


class FetchAddresses:
    """`give` sends a line to the worker that carries out `request`; `ask` asks the source. `sleep` is in seconds."""

    def __init__(
        self,
        request: Fetch,
        ask: Ask,
        give: Callable[[AddressGiven], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._request = request
        self._files: Mapping[str, PlannedFile] = {file.path: file for file in request.plan.files}
        self._ask = ask
        self._give = give
        self._sleep = sleep
        self._allowance = Allowance(_PER_SECOND, len(self._files) + _SPARE, monotonic)
        self._asking: dict[str, asyncio.Task[None]] = {}

    def on_wanted(self, wanted: AddressWanted) -> None:
        """Asks for the address in the background, once at one time for each file. A file of no plan is ignored."""
        file, asking = self._files.get(wanted.path), self._asking.get(wanted.path)
        if file is not None and (asking is None or asking.done()):
            self._asking[wanted.path] = asyncio.create_task(self._answer(file))

    async def stop(self) -> None:
        await cancel_and_wait(*self._asking.values())

    async def _answer(self, file: PlannedFile) -> None:
        request = self._request
        if delay := self._allowance.delay(1):
            await self._sleep(delay)
        question = Locate(new_request_id(), request.plan.ref, file.endpoint or "", file, request.credentials)
        try:
            self._give(AddressGiven(request.id, file.path, await self._ask(question)))
        except ProvisionError as error:
            self._give(AddressGiven(request.id, file.path, None, Failure.of(error)))
