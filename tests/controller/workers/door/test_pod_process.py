"""A pod that sends more than it may is read no faster than it may send."""

import asyncio

import pytest

from model_provisioner import __version__
from model_provisioner.controller.workers.door.pod_process import Allowance, PodProcess
from model_provisioner.worker_protocol.channel import Channel, Hello, Welcome


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


def test_an_allowance_is_used_up_and_comes_back() -> None:
    clock = Clock()
    allowance = Allowance(10, 5, clock.monotonic)
    assert [allowance.delay(1) for _ in range(5)] == [0.0] * 5
    assert allowance.delay(1) == pytest.approx(0.1)
    clock.now += 100
    assert [allowance.delay(1) for _ in range(5)] == [0.0] * 5
    assert allowance.delay(20) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("number", "line", "seconds"), [(2400, b"x\n", 20.0), (24, b"x" * 1024**2 + b"\n", 16.0)], ids=["lines", "bytes"]
)
async def test_a_flood_is_slowed(number: int, line: bytes, seconds: float) -> None:
    clock = Clock()
    process = PodProcess(1, 1, clock.monotonic, clock.sleep)
    reading = asyncio.create_task(drain(process))
    await process.serve(Flood(number, line), Hello(__version__), greet)
    process.end(0)
    assert await reading == number
    assert clock.now == pytest.approx(seconds, rel=0.02)


async def drain(process: PodProcess) -> int:
    count = 0
    while await process.stdout.readline():
        count += 1
    return count
