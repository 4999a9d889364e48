"""A resource that a thread opens is closed, also if the caller was cancelled."""

import asyncio
import threading

import pytest

from model_provisioner.aio.threads import Threads


class Door:
    """Opens only when it is allowed to."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.steps: list[str] = []

    def open(self) -> str:
        self.entered.set()
        self.go_on.wait(30)
        self.steps.append("opened")
        return "it"

    def close(self, one: str) -> None:
        self.steps.append(f"closed {one}")


async def use(threads: Threads, door: Door) -> None:
    async with threads.opened(door.open, door.close) as one:
        door.steps.append(f"used {one}")


async def test_who_waits_uses_it() -> None:
    door = Door()
    door.go_on.set()
    await use(Threads(), door)
    assert door.steps == ["opened", "used it", "closed it"]


@pytest.mark.parametrize("times", [1, 3])
async def test_what_was_opened_for_somebody_who_is_gone_is_closed(times: int) -> None:
    door = Door()
    task = asyncio.create_task(use(Threads(), door))
    await asyncio.to_thread(door.entered.wait, 30)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    door.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert door.steps == ["opened", "closed it"]


async def test_nothing_is_closed_under_a_thread_that_uses_it() -> None:
    door, threads, using = Door(), Threads(), threading.Event()
    door.go_on.set()

    def work() -> None:
        using.wait(30)
        door.steps.append("worked")

    async def begin() -> None:
        async with threads.opened(door.open, door.close):
            await threads.run(work)

    task = asyncio.create_task(begin())
    await asyncio.to_thread(door.entered.wait, 30)
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.sleep(0.05)
    using.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert door.steps == ["opened", "worked", "closed it"]


async def test_what_cannot_be_opened_is_told_and_nothing_is_closed() -> None:
    def fail() -> str:
        raise FileNotFoundError

    door = Door()
    with pytest.raises(FileNotFoundError):
        async with Threads().opened(fail, door.close):
            pass
    assert door.steps == []


async def test_calls_in_order_run_one_after_the_other_in_one_thread() -> None:
    threads, first_may_end = Threads(), threading.Event()
    began: list[tuple[int, int]] = []

    def call(number: int) -> None:
        began.append((number, threading.get_ident()))
        if number == 0:
            assert first_may_end.wait(10)

    calls = [asyncio.create_task(threads.run_in_order(call, number)) for number in range(5)]
    await asyncio.sleep(0.05)
    assert len(began) == 1
    first_may_end.set()
    await threads.idle()
    await asyncio.gather(*calls)
    threads.close()
    assert [number for number, _ in began] == list(range(5))
    assert len({thread for _, thread in began}) == 1
