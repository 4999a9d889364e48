"""What the worker writes, and when."""

import asyncio
from typing import cast

from model_provisioner.transfer.clock import Clock
from model_provisioner.transfer.outbox import Outbox
from model_provisioner.transfer.protocol import Answer, Cancelled, Progress, decode_answer


class Pipe:
    """A writer whose reader may be asleep."""

    def __init__(self) -> None:
        self.lines: list[Answer] = []
        self.awake = asyncio.Event()
        self.awake.set()

    def write(self, data: bytes) -> None:
        self.lines += [decode_answer(line) for line in data.splitlines()]

    async def drain(self) -> None:
        await self.awake.wait()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_while_nobody_reads_only_the_newest_progress_is_kept() -> None:
    now = [100.0]
    pipe = Pipe()
    outbox = Outbox(cast("asyncio.StreamWriter", pipe), Clock(monotonic=lambda: now[0]))
    running = asyncio.create_task(outbox.run())
    pipe.awake.clear()
    outbox.post(Progress("1", 1, 100, 0, 0))
    await settle()
    now[0] += 1
    for done in range(2, 50):
        outbox.post(Progress("1", done, 100, 0, 0))
    outbox.post(Cancelled("2"))
    pipe.awake.set()
    await settle()
    assert pipe.lines == [Progress("1", 1, 100, 0, 0), Cancelled("2"), Progress("1", 49, 100, 0, 0)]
    running.cancel()


async def test_the_end_takes_the_place_of_progress() -> None:
    pipe = Pipe()
    outbox = Outbox(cast("asyncio.StreamWriter", pipe), Clock())
    outbox.post(Progress("1", 1, 100, 0, 0))
    outbox.post(Cancelled("1"))
    running = asyncio.create_task(outbox.run())
    await settle()
    assert pipe.lines == [Cancelled("1")]
    running.cancel()
