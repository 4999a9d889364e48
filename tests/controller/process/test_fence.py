"""The event loop of a process that was stopped for longer than its Lease does nothing more."""

import asyncio
import math

import pytest

from model_provisioner.controller.process.fence import Fence, FencedSelector


class Ended(BaseException):
    """In place of the end of the process."""


def test_nothing_that_is_due_runs_after_the_time_is_over() -> None:
    clock, done = [0.0], list[str]()

    def end() -> None:
        raise Ended

    fence = Fence(lambda: clock[0], end)

    async def act() -> None:
        fence.close_at(14)
        await asyncio.sleep(0)
        done.append("before")
        clock[0] = 13.9
        await asyncio.sleep(0.01)
        done.append("in time")
        clock[0] = 14.0
        await asyncio.sleep(0)
        done.append("after")

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(FencedSelector(fence))) as runner:
        with pytest.raises(Ended):
            runner.run(act())
        fence.close_at(math.inf)
    assert done == ["before", "in time"]


def test_a_fence_is_open_until_it_is_told() -> None:
    ended = list[int]()
    fence = Fence(lambda: 10**9, lambda: ended.append(1))
    fence.check()
    fence.close_at(10.0)
    fence.check()
    assert ended == [1]
