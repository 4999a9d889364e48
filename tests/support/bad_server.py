"""A raw HTTP/1.1 server for one file that misbehaves on command; each way to misbehave is one function.

Called by tests of the download. It writes to sockets itself, because an HTTP library refuses to send such answers.
`BadServer` answers its first requests by its script, one entry for each, and later requests correctly or by `always`.
"""

import asyncio
import contextlib
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

_RANGE = re.compile(rb"range: bytes=(\d+)-(\d+)\r\n", re.IGNORECASE)
_TLS_HANDSHAKE = b"\x16"
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for bytes `start` to `stop` (exclusive) of `content`. `ranged` is false if it has no Range header."""

    content: bytes
    start: int
    stop: int
    ranged: bool
    head: bytes

    @property
    def body(self) -> bytes:
        return self.content[self.start : self.stop]


class Ending(Enum):
    """What the server does with the connection after the body."""

    KEEP = "keep"
    CLOSE = "close"
    RESET = "reset"
    HANG = "hang"


@dataclass(frozen=True, slots=True)
class Answer:
    """`delay` and `body_delay` seconds pass before the header and before the body.

    `pause` seconds lie between pieces of `piece` bytes. Without `headers` the status line alone is sent, unended.
    """

    status: str
    headers: Mapping[str, str] | None
    body: bytes = b""
    ending: Ending = Ending.KEEP
    piece: int = _PIECE_BYTES
    pause: float = 0.0
    delay: float = 0.0
    body_delay: float = 0.0

    @property
    def head(self) -> bytes:
        if self.headers is None:
            return self.status.encode()
        lines = [f"HTTP/1.1 {self.status}", *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    def saying(self, **headers: str | None) -> "Answer":
        """The same answer with these headers replaced (`content_range` is content-range); None removes a header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        others = {name: value for name, value in (self.headers or {}).items() if name.lower() not in named}
        return replace(self, headers=others | {name: value for name, value in named.items() if value is not None})

    def ending_by(self, ending: Ending) -> "Answer":
        return replace(self, ending=ending)


Behaviour = Callable[[Asked], Answer]


def honest(asked: Asked) -> Answer:
    size = {"Content-Length": str(len(asked.body)), "ETag": '"one"'}
    if not asked.ranged:
        return Answer("200 OK", size, asked.body)
    extent = f"bytes {asked.start}-{asked.stop - 1}/{len(asked.content)}"
    return Answer("206 Partial Content", {**size, "Content-Range": extent}, asked.body)


def whole(asked: Asked) -> Answer:
    """The answer of a server that does not know ranges."""
    return Answer("200 OK", {"Content-Length": str(len(asked.content))}, asked.content)


def refuses(status: str, body: bytes = b"", **headers: str) -> Behaviour:
    answer = Answer(status, {"Content-Length": str(len(body))}, body)
    return lambda _: answer.saying(**headers)


def stops_at(offset: int, ending: Ending) -> Behaviour:
    """Ends every body at `offset` of the file if it reaches that offset."""
    return lambda asked: _cut(honest(asked), offset - asked.start, ending)


def cut(behaviour: Behaviour, offset: int) -> Behaviour:
    """Closes the connection once `offset` bytes of the file, or of a body in chunks, have been sent."""

    def answer(asked: Asked) -> Answer:
        told = behaviour(asked)
        starts_at = asked.start if told.status.startswith("206") and len(told.body) <= len(asked.body) else 0
        return _cut(told, offset - starts_at, Ending.CLOSE)

    return answer


def says_range(text: str | None, start: int = 0, last: int = 0, size: int = 0) -> Behaviour:
    """Sends `text` as Content-Range (None: no such header).

    {start}, {last} and {size} in it stand for the right values plus `start`, `last` and `size`.
    """

    def answer(asked: Asked) -> Answer:
        names = {"start": asked.start + start, "last": asked.stop - 1 + last, "size": len(asked.content) + size}
        return honest(asked).saying(content_range=text and text.format(**names))

    return answer


def sends(body: Callable[[bytes], bytes], *, told: bool = False) -> Behaviour:
    """Sends `body(right body)`. `told`: Content-Length is the length of that body, not of the right one."""

    def answer(asked: Asked) -> Answer:
        other = body(asked.body)
        right = honest(asked)
        return replace(right.saying(content_length=str(len(other))) if told else right, body=other)

    return answer


def chunked(missing: int = 0) -> Behaviour:
    """Chunked, at most 1000 bytes in a chunk; the body lacks its last `missing` bytes and its end."""

    def answer(asked: Asked) -> Answer:
        pieces = [asked.body[start : start + 1000] for start in range(0, len(asked.body), 1000)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        right = honest(asked).saying(content_length=None, transfer_encoding="chunked")
        if missing:
            return replace(right, body=body[:-missing], ending=Ending.CLOSE)
        return replace(right, body=body + b"0\r\n\r\n")

    return answer


async def _head(reader: asyncio.StreamReader) -> bytes:
    """The head of a request; b"" if a TLS handshake begins in its place."""
    first = await reader.readexactly(1)
    return b"" if first == _TLS_HANDSHAKE else first + await reader.readuntil(b"\r\n\r\n")


def _cut(answer: Answer, size: int, ending: Ending) -> Answer:
    return answer if not 0 <= size <= len(answer.body) else replace(answer, body=answer.body[:size], ending=ending)


@dataclass
class BadServer:
    """`content` is the file, `script` the behaviours for the first requests, `always` the one for all later requests.

    `log` has the requests in order; `sent` counts bytes of bodies that were written to sockets.
    """

    content: bytes
    script: Sequence[Behaviour] = ()
    always: Behaviour | None = None
    tls: ssl.SSLContext | None = None
    log: list[Asked] = field(default_factory=list)
    sent: int = 0
    port: int = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["BadServer"]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls) as listening:
            self.port = listening.sockets[0].getsockname()[1]
            yield self

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/file.gguf"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while (head := await _head(reader)) and await self.respond(head, reader, writer):
                    pass
        finally:
            writer.close()

    async def respond(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers a request; returns whether the connection can take another one."""
        asked = self.understand(head)
        self.log.append(asked)
        answer = self.behaviour(len(self.log))(asked)
        await self._send(answer, writer)
        if answer.ending is not Ending.KEEP:
            await self._end(answer.ending, reader, writer)
        return answer.ending is Ending.KEEP

    def behaviour(self, number: int) -> Behaviour:
        """That of the request of this number, counted from 1."""
        if number <= len(self.script):
            return self.script[number - 1]
        return self.always or honest

    def understand(self, head: bytes) -> Asked:
        found = _RANGE.search(head)
        start, stop = (int(found[1]), int(found[2]) + 1) if found else (0, len(self.content))
        return Asked(self.content, start, stop, found is not None, head)

    async def _send(self, answer: Answer, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(answer.delay)
        writer.write(answer.head)
        await asyncio.sleep(answer.body_delay)
        for start in range(0, len(answer.body), answer.piece):
            piece = answer.body[start : start + answer.piece]
            writer.write(piece)
            await writer.drain()
            self.sent += len(piece)
            if answer.pause:
                await asyncio.sleep(answer.pause)

    async def _end(self, ending: Ending, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if ending is Ending.HANG:
            await reader.read()
        elif ending is Ending.RESET:
            await asyncio.sleep(0.01)  # so that what was sent has been read, most of the time
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
