"""A raw HTTP/1.1 server for one file that misbehaves as it is told: each way to do so is one function, most one line.

An honest server would never send what this one does, so nothing but bytes and sockets is used. `BadServer` answers its
first requests as its script says, one entry each, and those after them honestly; or all of them as `always` says.
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
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """`start` up to, not including, `stop` of `content` are asked for; `ranged` is false where it was all of it."""

    content: bytes
    start: int
    stop: int
    ranged: bool
    head: bytes

    @property
    def body(self) -> bytes:
        return self.content[self.start : self.stop]


class Ending(Enum):
    """What becomes of the connection after the body."""

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
        """With these headers instead (`content_range` is content-range); None takes one away."""
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
    """As a server does that knows no ranges."""
    return Answer("200 OK", {"Content-Length": str(len(asked.content))}, asked.content)


def refuses(status: str, body: bytes = b"", **headers: str) -> Behaviour:
    answer = Answer(status, {"Content-Length": str(len(body))}, body)
    return lambda _: answer.saying(**headers)


def stops_at(offset: int, ending: Ending) -> Behaviour:
    """Ends every body that reaches `offset` of the file there."""
    return lambda asked: _cut(honest(asked), offset - asked.start, ending)


def cut(behaviour: Behaviour, offset: int) -> Behaviour:
    """Closes the connection once `offset` bytes of the file, or of a body in chunks, have been sent."""

    def answer(asked: Asked) -> Answer:
        told = behaviour(asked)
        starts_at = asked.start if told.status.startswith("206") and len(told.body) <= len(asked.body) else 0
        return _cut(told, offset - starts_at, Ending.CLOSE)

    return answer


def says_range(text: str | None, start: int = 0, last: int = 0, size: int = 0) -> Behaviour:
    """`text` may name {start}, {last} and {size}, each wrong by what is given."""

    def answer(asked: Asked) -> Answer:
        names = {"start": asked.start + start, "last": asked.stop - 1 + last, "size": len(asked.content) + size}
        return honest(asked).saying(content_range=text and text.format(**names))

    return answer


def sends(body: Callable[[bytes], bytes], *, told: bool = False) -> Behaviour:
    """Another body; `told`: the length that is announced is that of the other one."""

    def answer(asked: Asked) -> Answer:
        other = body(asked.body)
        right = honest(asked)
        return replace(right.saying(content_length=str(len(other))) if told else right, body=other)

    return answer


def chunked(missing: int = 0) -> Behaviour:
    """In chunks of at most 1000 bytes; with `missing` bytes the last of them ends early."""

    def answer(asked: Asked) -> Answer:
        pieces = [asked.body[start : start + 1000] for start in range(0, len(asked.body), 1000)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        right = honest(asked).saying(content_length=None, transfer_encoding="chunked")
        if missing:
            return replace(right, body=body[:-missing], ending=Ending.CLOSE)
        return replace(right, body=body + b"0\r\n\r\n")

    return answer


def _cut(answer: Answer, size: int, ending: Ending) -> Answer:
    return answer if not 0 <= size <= len(answer.body) else replace(answer, body=answer.body[:size], ending=ending)


@dataclass
class BadServer:
    """`log` has what was asked, in order; `sent` counts the bytes of bodies that were handed to the system."""

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
                while True:
                    asked = self._understand(await reader.readuntil(b"\r\n\r\n"))
                    self.log.append(asked)
                    answer = self._behaviour(len(self.log))(asked)
                    await self._send(answer, writer)
                    if answer.ending is not Ending.KEEP:
                        await self._end(answer.ending, reader, writer)
                        return
        finally:
            writer.close()

    def _behaviour(self, number: int) -> Behaviour:
        if number <= len(self.script):
            return self.script[number - 1]
        return self.always or honest

    def _understand(self, head: bytes) -> Asked:
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
