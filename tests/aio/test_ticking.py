"""ticking: calls again and again while a block runs, and never after it."""

import asyncio

from model_provisioner.aio.clock import Clock
from model_provisioner.aio.ticking import ticking


async def test_it_ticks_until_the_block_ends() -> None:
    ticks = 0
    twice = asyncio.Event()

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 2:
            twice.set()

    async with ticking(Clock(), 0.001, tick):
        await asyncio.wait_for(twice.wait(), 10)
    after = ticks
    await asyncio.sleep(0.02)
    assert ticks == after
