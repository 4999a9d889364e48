"""The bandwidth limit, on a clock that advances only while a task sleeps."""

import asyncio

import pytest

from model_provisioner.aio.clock import Clock
from model_provisioner.transfer.download.requests.throttle import Limits, Throttle

RATE = 1000


class FakeTime:
    """Tasks that sleep at the same time wake together, when the longest sleep ends."""

    def __init__(self) -> None:
        self.now = 100.0

    async def sleep(self, seconds: float) -> None:
        wake = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, wake)

    @property
    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep)


async def take(throttle: Throttle, size: int, times: int) -> None:
    for _ in range(times):
        await throttle.take(size)


@pytest.mark.parametrize("connections", [1, 4])
async def test_all_connections_together_keep_the_limit(connections: int) -> None:
    time = FakeTime()
    throttle = Throttle(Limits(1, RATE), time.clock)
    await asyncio.gather(*(take(throttle, 500, 20) for _ in range(connections)))
    assert time.now == pytest.approx(100 + connections * 10, abs=0.1)


async def test_time_that_passed_unused_is_not_saved_up() -> None:
    time = FakeTime()
    throttle = Throttle(Limits(1, RATE), time.clock)
    time.now += 3600
    started = time.now
    await take(throttle, 500, 4)
    assert time.now - started == pytest.approx(2, abs=0.1)


async def test_without_a_limit_nobody_waits() -> None:
    time = FakeTime()
    await take(Throttle(Limits(1), time.clock), 10**9, 100)
    assert time.now == 100


async def test_a_changed_limit_is_felt_at_once_even_by_those_who_wait() -> None:
    time = FakeTime()
    limits = Limits(1, 1)
    throttle = Throttle(limits, time.clock)
    waiting = asyncio.create_task(take(throttle, RATE, 2))
    await asyncio.sleep(0)
    limits.bytes_per_second = RATE
    await waiting
    assert time.now - 100 == pytest.approx(2, abs=0.3)


async def test_a_limit_that_is_lifted_lets_everybody_go() -> None:
    time = FakeTime()
    limits = Limits(1, 1)
    waiting = asyncio.create_task(take(Throttle(limits, time.clock), 10**9, 3))
    await asyncio.sleep(0)
    limits.bytes_per_second = None
    await waiting
    assert time.now - 100 < 1
