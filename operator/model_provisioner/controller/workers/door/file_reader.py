"""Brings the bytes of published files into the operator, from a process that may hang with its volume.

A process of `senders` writes them to a Unix socket in a directory that only this user can enter (`transfer.worker.
sending`). The operator itself opens no file of a volume. Used by `file_route`; made by `pod_service`.
"""

import asyncio
import contextlib
import dataclasses
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.controller.workers.door.grants import Stored
from model_provisioner.domain.errors import ProvisionError, SourceUnavailable
from model_provisioner.domain.store.claim import Claim, StoreRef
from model_provisioner.worker_processes.worker import Worker
from model_provisioner.worker_protocol.messages import Answer, Send

_KEY_BYTES = 16
_KEY_LENGTH = 2 * _KEY_BYTES
_BUFFER_BYTES = 128 * 1024
_BEGIN_SECONDS = 30.0
"""With the start of a process for it, on a busy machine."""

Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class FileReader:
    """`mounted` says where the claims of the operator are, `senders` which process sends what is there."""

    def __init__(self, mounted: Mapping[Claim, StoreRef], senders: Mapping[Claim, Worker]) -> None:
        self._mounted = mounted
        self._senders = senders
        self._awaited: dict[str, asyncio.Future[Connected]] = {}
        self._socket = ""

    async def start(self, closing: contextlib.AsyncExitStack) -> None:
        """Listens until `closing`. Raises OSError."""
        directory = closing.enter_context(tempfile.TemporaryDirectory(prefix="copies-"))  # its mode is 0700
        self._socket = str(Path(directory) / "s")
        server = await asyncio.start_unix_server(self._on_connection, self._socket, limit=_BUFFER_BYTES)
        closing.callback(server.close)

    async def confirms(self, stored: Stored) -> bool:
        """Whether the file is there, a record confirms it, and its volume answers."""
        try:
            async with self.opened(stored, 0, 0):
                return True
        except ProvisionError:
            return False

    @contextlib.asynccontextmanager
    async def opened(self, stored: Stored, start: int, stop: int) -> AsyncIterator[asyncio.StreamReader]:
        """The bytes from `start` up to `stop`. They end early if the file can't be read any more.

        Raises ProvisionError: the file is not there, no record confirms it, or its volume does not answer.
        """
        key = secrets.token_hex(_KEY_BYTES)
        awaited = self._awaited[key] = asyncio.get_running_loop().create_future()
        store = dataclasses.replace(self._mounted[stored.claim], id=stored.store_id)
        request = Send(key, store, stored.file, start, stop, self._socket, key)
        sending = asyncio.create_task(self._senders[stored.claim].call(request))
        try:
            yield await self._begin(awaited, sending)
        finally:
            del self._awaited[key]
            if awaited.done() and not awaited.cancelled():
                awaited.result()[1].transport.abort()  # the sender sees it, and ends
            await cancel_and_wait(sending)

    async def _begin(
        self, awaited: "asyncio.Future[Connected]", sending: "asyncio.Task[Answer]"
    ) -> asyncio.StreamReader:
        """The answer that all is sent may overtake the connection that it is sent over."""
        either: set[asyncio.Future[Any]] = {awaited, sending}
        try:
            async with asyncio.timeout(_BEGIN_SECONDS):
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
                return (await awaited)[0]
        except TimeoutError:
            raise SourceUnavailable(f"the volume did not begin to send within {_BEGIN_SECONDS:.0f} seconds") from None

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_BEGIN_SECONDS):
                key = (await reader.readexactly(_KEY_LENGTH)).decode("ascii", "replace")
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            key = ""
        awaited = self._awaited.get(key)
        if awaited is None or awaited.done():
            writer.transport.abort()
        else:
            awaited.set_result((reader, writer))
