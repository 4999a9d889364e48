"""A hub that writes raw bytes, in a thread of its own: answers that no HTTP library sends. Called by tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

from tests.support.hub.listener import LoopThread

Answers = Callable[[str], AsyncIterator[bytes]]
"""What is written to a connection, by the path (with the query) of its first request; then it is closed."""
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"


@contextlib.contextmanager
def hostile_hub(answers: Answers) -> Iterator[str]:
    """The endpoint of a hub that answers so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            async for piece in answers(path):
                writer.write(piece)
                await writer.drain()
        writer.close()

    thread = LoopThread()
    server = thread.run(asyncio.start_server(serve, "127.0.0.1", 0))
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        thread.stop()


async def drips(_path: str) -> AsyncIterator[bytes]:
    """A description of a repository that has no end, a byte every half second."""
    yield _HEAD + b'{"id": "'
    while True:
        await asyncio.sleep(0.5)
        yield b"x"


def lists(files: int) -> Answers:
    """Repositories with `files` files, on whatever path. The listing is made while it is sent."""

    async def answer(_path: str) -> AsyncIterator[bytes]:
        yield _HEAD + b'{"sha": "' + b"c" * 40 + b'", "siblings": ['
        for start in range(0, files, 1000):
            numbers = range(start, min(files, start + 1000))
            yield b"".join(_sibling(number) for number in numbers)
        yield b'{"rfilename": "README.md"}]}'

    return answer


def _sibling(number: int) -> bytes:
    lfs = b'{"sha256": "%064x", "size": 1000000000, "pointerSize": 135}' % number
    return b'{"rfilename": "%d/model-%d.gguf", "size": 1000000000, "lfs": %s},' % (number % 100, number, lfs)
