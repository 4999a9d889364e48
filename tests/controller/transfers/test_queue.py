"""The download queue: order, release, and cancellation that loses nothing."""

import asyncio
from dataclasses import replace

import pytest

from model_provisioner.controller.transfers import queue as slots_module
from model_provisioner.controller.transfers.queue import TransferQueue
from model_provisioner.controller.workers.child_process import WorkerProcess
from model_provisioner.domain.scheduling.queueing import Waiting


def queue(size: int) -> TransferQueue:
    return TransferQueue([WorkerProcess(["true"]) for _ in range(size)])


def one(name: str, priority: int = 0, created: str = "2026-01-01T00:00:00Z") -> Waiting:
    return Waiting(name, "ns", priority, created)


class Visitor:
    """Somebody who takes a slot and holds it until told to leave."""

    def __init__(self, slots: TransferQueue, waiting: Waiting, order: list[str]) -> None:
        self.leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(slots, waiting, order))

    async def _visit(self, slots: TransferQueue, waiting: Waiting, order: list[str]) -> None:
        async with slots.acquire(waiting):
            order.append(waiting.uid)
            await self.leave.wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_most_urgent_and_then_the_oldest_goes_first() -> None:
    slots, order = queue(1), list[str]()
    first = Visitor(slots, one("first"), order)
    await settle()
    waiting = [
        Visitor(slots, one("young", created="2026-01-03T00:00:00Z"), order),
        Visitor(slots, one("old", created="2026-01-02T00:00:00Z"), order),
        Visitor(slots, one("urgent", priority=1, created="2026-01-04T00:00:00Z"), order),
    ]
    await settle()
    for visitor in [first, *waiting]:
        visitor.leave.set()
    await asyncio.gather(first.task, *(visitor.task for visitor in waiting))
    assert order == ["first", "urgent", "old", "young"]
    assert slots.busy == 0


async def test_a_new_priority_moves_who_waits() -> None:
    slots, order = queue(1), list[str]()
    visitors = [Visitor(slots, one(name, created=f"2026-01-0{n}T00:00:00Z"), order) for n, name in enumerate("abc", 1)]
    await settle()
    slots.reorder(one("c", 9, "2026-01-03T00:00:00Z"))
    for visitor in visitors:
        visitor.leave.set()
    await asyncio.gather(*(visitor.task for visitor in visitors))
    assert order == ["a", "c", "b"]


async def test_leaving_the_queue_or_a_slot_by_cancellation_loses_no_slot() -> None:
    slots, order = queue(2), list[str]()
    visitors = [Visitor(slots, replace(one("x"), uid=str(number)), order) for number in range(6)]
    await settle()
    for visitor in visitors[1:5]:
        visitor.task.cancel()
    await asyncio.gather(*(visitor.task for visitor in visitors[1:5]), return_exceptions=True)
    await settle()
    assert order == ["0", "1", "5"]
    assert not slots.stuck
    visitors[0].leave.set()
    visitors[5].leave.set()
    await asyncio.gather(visitors[0].task, visitors[5].task)
    assert slots.busy == 0


async def test_a_queue_that_serves_nobody_is_stuck_and_one_that_serves_all_it_can_is_not() -> None:
    slots, order = queue(1), list[str]()
    slots.hold_until_synced({"never"})
    assert not slots.stuck, "nobody waits"
    first = Visitor(slots, one("first"), order)
    await settle()
    assert (order, slots.busy, slots.stuck) == ([], 0, True)
    slots.mark_synced("never")
    await settle()
    assert (order, slots.busy, slots.stuck) == (["first"], 1, False)
    second = Visitor(slots, one("second"), order)
    await settle()
    assert (order, slots.waiting("ns"), slots.stuck) == (["first"], 1, False), "it waits for one that is taken"
    for visitor in (first, second):
        visitor.leave.set()
    await asyncio.gather(first.task, second.task)
    assert (order, slots.busy, slots.stuck) == (["first", "second"], 0, False)


async def test_who_never_reports_is_not_waited_for_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots_module, "_SYNC_SECONDS", 0.01)
    slots, order = queue(1), list[str]()
    slots.hold_until_synced({"never"})
    visitor = Visitor(slots, one("first"), order)
    visitor.leave.set()
    await asyncio.wait_for(visitor.task, 20)
    assert not slots.stuck
