"""The addresses that the fetches of a worker wait for: it asks for them in an answer line and gets them in a request.

Made by `worker`, one for each fetch. A worker that moves bytes imports no library that signs, and has no access to the
credentials of the operator: the resolver process signs.
"""

import asyncio
from collections.abc import Callable

from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.store.plan import PlannedFile
from model_provisioner.worker_protocol.messages import AddressGiven, AddressWanted


class WantedAddresses:
    """Those of the fetch `request_id`; `post` sends an answer line."""

    def __init__(self, request_id: str, post: Callable[[AddressWanted], None]) -> None:
        self._id = request_id
        self._post = post
        self._waiting: dict[str, asyncio.Future[Address]] = {}

    async def get(self, file: PlannedFile) -> Address:
        """Where `file` is now. Raises the ProvisionError that the source answered with."""
        waiting = self._waiting.get(file.path)
        if waiting is None:
            waiting = self._waiting[file.path] = asyncio.get_running_loop().create_future()
            self._post(AddressWanted(self._id, file.path))
        return await asyncio.shield(waiting)

    def on_given(self, given: AddressGiven) -> None:
        waiting = self._waiting.pop(given.path, None)
        if waiting is None or waiting.done():
            return
        if given.address is not None:
            waiting.set_result(given.address)
        elif given.error is not None:
            waiting.set_exception(given.error.error)
