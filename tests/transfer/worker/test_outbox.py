"""Which lines the outbox writes, and in which order."""

import asyncio
from typing import cast

import pytest

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.model_facts import GGUFSummary
from model_provisioner.transfer.worker.outbox import Outbox
from model_provisioner.worker_protocol.codec import decode_answer
from model_provisioner.worker_protocol.messages import Answer, Cancelled, FailedAnswer, Progress, Published


class Pipe:
    """A writer that blocks in `drain` while `awake` is not set."""

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


@pytest.mark.parametrize("end", [FailedAnswer("1", "NotGGUF", "a page"), Cancelled("1")])
async def test_an_end_that_does_not_say_how_much_came_follows_what_does(end: Answer) -> None:
    assert await written(Progress("1", 1, 100, 0, 1), Progress("1", 2, 100, 0, 2), Progress("2", 1, 1, 0, 1), end) == [
        Progress("1", 2, 100, 0, 2),
        end,
        Progress("2", 1, 1, 0, 1),
    ]


async def test_the_end_that_says_it_all_takes_the_place_of_progress() -> None:
    end = Published("1", (), GGUFSummary("llama"), 100)
    assert await written(Progress("1", 1, 100, 0, 1), end) == [end]


async def written(*answers: Answer) -> list[Answer]:
    """The lines that are written after all `answers` were posted."""
    pipe = Pipe()
    outbox = Outbox(cast("asyncio.StreamWriter", pipe), Clock())
    for answer in answers:
        outbox.post(answer)
    running = asyncio.create_task(outbox.run())
    await settle()
    running.cancel()
    return pipe.lines
