"""Clients that connect and disconnect leave no task, no open file and no counted stream.

`make bench-gateway` does the same for longer.
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


async def connect_and_disconnect(service: Service, times: int) -> None:
    """Half of the clients disconnect within the snapshot, the other half after it."""
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
    async with asyncio.timeout(60):
        while service.limiter.open or len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 -- other tasks' state
            await asyncio.sleep(0.01)


async def test_disconnected_clients_leave_nothing_behind() -> None:
    async with serving(heartbeat=3600) as service:
        for number in range(20):
            service.board.on_event("ADDED", document(f"m{number}", number + 1, Started(MODEL, 0)))
        await connect_and_disconnect(service, AT_ONCE)
        before = open_files()
        await connect_and_disconnect(service, TIMES)
        assert open_files() <= before
        assert service.limiter.refused == 0
