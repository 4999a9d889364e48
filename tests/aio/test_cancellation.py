"""Cancelling a task waits for its end, also if the waiting task is cancelled."""

import asyncio

import pytest

from model_provisioner.aio.cancellation import cancel_and_wait


class Slow:
    """A task that ends only when it is allowed to."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await self.may_end.wait()


async def moments() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_returns_when_all_have_ended() -> None:
    tasks = [Slow(), Slow()]
    await moments()
    ending = asyncio.create_task(cancel_and_wait(*(one.task for one in tasks)))
    await moments()
    tasks[0].may_end.set()
    await moments()
    assert not ending.done()
    tasks[1].may_end.set()
    await ending
    assert all(one.task.cancelled() for one in tasks)


async def test_how_a_task_ended_is_not_its_business() -> None:
    async def fail() -> None:
        raise ValueError

    failed = asyncio.create_task(fail())
    await moments()
    await cancel_and_wait(failed)
    assert isinstance(failed.exception(), ValueError)


async def test_a_cancellation_waits_for_the_end_and_is_not_forgotten() -> None:
    slow = Slow()
    await moments()
    ending = asyncio.create_task(cancel_and_wait(slow.task))
    await moments()
    ending.cancel()
    await moments()
    assert not ending.done(), "what is being ended may still write"
    slow.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert slow.task.done()
