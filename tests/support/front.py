"""A bad server before a real one: it answers for the bytes of one file, and passes on all other requests.

Called by tests of the sources, which resolve a ref at a real server (nginx, an S3 server, a registry) and meet faults
in the transfer.
"""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.bad_server import Answer, Asked, BadServer, Behaviour
from tests.support.hub.listener import LoopThread

_TAG = re.compile(rb"\r\netag: (.*?)\r\n", re.IGNORECASE)
_CONNECTION = re.compile(rb"\r\nconnection: .*?(?=\r\n)", re.IGNORECASE)


@dataclass
class Front(BadServer):
    """Before the server at the port `behind` of this host.

    A request for more than one byte is answered by the script, by `always`, or with `passes` by the real server; `log`
    and `sent` are about these. Every other one is passed on. An honest answer has the entity tag of the real server.
    """

    behind: int = 0
    passes: bool = False
    tag: str | None = None

    async def respond(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        asked = self.understand(head)
        of_bytes = head.startswith(b"GET ") and asked.ranged and asked.stop - asked.start > 1
        if of_bytes and not (self.passes and len(self.log) >= len(self.script) and self.always is None):
            return await super().respond(head, reader, writer)
        if of_bytes:
            self.log.append(asked)
        await self._pass_on(head, writer, counted=of_bytes)
        return False

    def behaviour(self, number: int) -> Behaviour:
        found = super().behaviour(number)
        tag = self.tag or '"one"'

        def answer(asked: Asked) -> Answer:
            told = found(asked)
            return told.saying(etag=tag) if (told.headers or {}).get("ETag") == '"one"' else told

        return answer

    async def _pass_on(self, head: bytes, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        """On a connection of its own, which ends with the answer."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.behind)
        try:
            far_writer.write(_CONNECTION.sub(b"", head)[:-2] + b"Connection: close\r\n\r\n")
            told = await far_reader.readuntil(b"\r\n\r\n")
            if found := _TAG.search(told):
                self.tag = found[1].decode()
            writer.write(told)
            while chunk := await far_reader.read(64 * 1024):
                writer.write(chunk)
                await writer.drain()
                self.sent += len(chunk) if counted else 0
        finally:
            far_writer.close()


@contextlib.contextmanager
def in_thread(server: BadServer) -> Iterator[None]:
    """Runs it on an event loop of its own, for a test that blocks."""
    thread, running = LoopThread(), server.running()
    thread.run(running.__aenter__())
    try:
        yield
    finally:
        thread.run(running.__aexit__(None, None, None))
        thread.stop()
