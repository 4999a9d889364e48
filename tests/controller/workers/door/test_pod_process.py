"""A pod that sends more than it may is read no faster than it may send."""

import asyncio

import pytest

from model_provisioner import __version__
from model_provisioner.controller.workers.door.pod_process import PodProcess
from model_provisioner.worker_protocol.channel import HEAD_BYTES, Channel, Hello, Welcome


class Clock:
    """A time that only sleepers move."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class Flood:
    """A socket with `number` lines that come as fast as they are read."""

    def __init__(self, number: int, line: bytes) -> None:
        self._channel = Channel()
        self._left = number
        self._line = line

    async def send_text(self, text: str) -> None:
        """Takes everything."""

    async def send_frame(self, frame: bytes) -> None:
        """Takes everything."""

    async def close(self) -> None:
        self._left = 0

    async def receive(self) -> str | bytes | None:
        self._left -= 1
        return self._channel.pack_once(self._line) if self._left >= 0 else None


async def greet(_: Welcome) -> None:
    """The flood does not read it."""


async def test_a_flood_is_slowed_over_any_number_of_connections() -> None:
    clock = Clock()
    process = PodProcess(1, 1, clock.monotonic, clock.sleep)
    reading = asyncio.create_task(drain(process))
    for _ in range(24):
        await process.serve(Flood(100, b"x\n"), Hello(__version__), greet)
    process.end(0)
    assert await reading == 2400
    assert clock.now == pytest.approx(20.0, rel=0.02)


class Held:
    """A socket over which nothing comes, and that keeps what is sent."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.has = asyncio.Queue[bytes]()

    async def send_text(self, text: str) -> None:
        """Takes everything."""

    async def send_frame(self, frame: bytes) -> None:
        self.has.put_nowait(frame)

    async def close(self) -> None:
        self.closed.set()

    async def receive(self) -> str | bytes | None:
        await self.closed.wait()
        return None


async def test_the_newest_connection_has_the_lines_whichever_is_greeted_last() -> None:
    process, greeted = PodProcess(1, 1), asyncio.Event()

    async def greet_late(_: Welcome) -> None:
        await greeted.wait()

    process.write(b"asked\n")
    slow, newest = Held(), Held()
    first = asyncio.create_task(process.serve(slow, Hello(__version__), greet_late))
    await asyncio.sleep(0)
    second = asyncio.create_task(process.serve(newest, Hello(__version__), greet))
    await process.changed.wait()
    greeted.set()
    async with asyncio.timeout(30):
        await first
    process.write(b"more\n")
    async with asyncio.timeout(30):
        assert [(await newest.has.get())[HEAD_BYTES:] for _ in range(2)] == [b"asked\n", b"more\n"]
    assert slow.has.empty()
    process.end(0)
    async with asyncio.timeout(30):
        await second


async def test_a_line_that_comes_over_the_connection_before_is_not_taken() -> None:
    """The pod sends it again over the new one, as its greeting has told what has arrived."""
    process = PodProcess(1, 1)
    late, welcomed = asyncio.Event(), asyncio.Event()

    class Late(Flood):
        async def receive(self) -> str | bytes | None:
            await late.wait()
            return await super().receive()

        async def close(self) -> None:
            """The line is in its buffer already."""

    async def welcome(_: Welcome) -> None:
        welcomed.set()

    first = asyncio.create_task(process.serve(Late(1, b"x\n"), Hello(__version__), greet))
    await process.changed.wait()
    second = asyncio.create_task(process.serve(Held(), Hello(__version__), welcome))
    await welcomed.wait()
    late.set()
    async with asyncio.timeout(30):
        await first
    process.end(0)
    assert await process.stdout.read() == b""
    await second


async def test_what_a_pod_does_wrong_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    process = PodProcess(1, 1, clock.monotonic)
    for _ in range(121):
        process.complain("the pod of Job a/b broke the protocol")
        clock.now += 1.0
    assert len(caplog.records) == 3


async def test_a_flood_is_slowed() -> None:
    clock = Clock()
    process = PodProcess(1, 1, clock.monotonic, clock.sleep)
    reading = asyncio.create_task(drain(process))
    await process.serve(Flood(2400, b"x\n"), Hello(__version__), greet)
    process.end(0)
    assert await reading == 2400
    assert clock.now == pytest.approx(20.0, rel=0.02)


async def drain(process: PodProcess) -> int:
    count = 0
    while await process.stdout.readline():
        count += 1
    return count
