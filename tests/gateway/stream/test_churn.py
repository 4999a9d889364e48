"""Clients that come and go: nothing of them stays, neither a task nor a file nor a place; the long form is
`make bench-gateway`.
"""

import asyncio
from pathlib import Path

from model_provisioner.domain.lifecycle.events import Started
from tests.gateway.streaming import PROGRESS, Service, document, serving
from tests.support.samples import MODEL

TIMES = 500
AT_ONCE = 20


def open_files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


async def come_and_go(service: Service, times: int) -> None:
    """Half of them leave without a word in the middle of the snapshot, the other half after it."""
    port = service.server.port
    assert port is not None
    left = iter(range(times))

    async def one_after_the_other() -> None:
        for number in left:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {PROGRESS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await reader.readuntil(b"event: sync" if number % 2 else b"\r\n\r\n")
            writer.transport.abort()

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    async with asyncio.timeout(10):
        while service.seats.taken or len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 -- other tasks' state
            await asyncio.sleep(0.01)


async def test_nothing_stays_of_those_who_left() -> None:
    async with serving(heartbeat=3600) as service:
        for number in range(20):
            service.board.on_event("ADDED", document(f"m{number}", number + 1, Started(MODEL, 0)))
        await come_and_go(service, AT_ONCE)
        before = open_files()
        await come_and_go(service, TIMES)
        assert open_files() <= before
        assert service.seats.refused == 0
