"""The download queue: order, release, and cancellation that loses nothing."""

import asyncio
from dataclasses import replace

import pytest

from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.controller.transfers import queue as queue_module
from model_provisioner.controller.transfers.queue import TransferQueue, WithdrawnError
from model_provisioner.domain.scheduling.queueing import Turns, Waiting
from tests.support.worker_processes import worker_of


def queue(size: int, turns: Turns | None = None) -> TransferQueue:
    return TransferQueue([worker_of(["true"]) for _ in range(size)], turns or Turns())


def entry(name: str, priority: int = 0, created: str = "2026-01-01T00:00:00Z", namespace: str = "ns") -> Waiting:
    return Waiting(name, namespace, priority, created)


class Transfer:
    """Takes a slot and holds it until `leave` is set, or until the queue wants it back: then it waits for another."""

    def __init__(self, transfer_queue: TransferQueue, waiting: Waiting, order: list[str]) -> None:
        self.leave = asyncio.Event()
        self.began = asyncio.Event()
        self.stops = 0
        self.task = asyncio.create_task(self._run(transfer_queue, waiting, order))

    async def _run(self, transfer_queue: TransferQueue, waiting: Waiting, order: list[str]) -> None:
        while not self.leave.is_set():
            async with transfer_queue.acquire(waiting, stops=self.stops) as slot:
                order.append(waiting.uid)
                self.began.set()
                events = [asyncio.create_task(event.wait()) for event in (self.leave, slot.wanted_back)]
                await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
                self.stops += slot.stopped
                await cancel_and_wait(*events)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_most_urgent_and_then_the_oldest_goes_first() -> None:
    transfer_queue, order = queue(1), list[str]()
    first = Transfer(transfer_queue, entry("first"), order)
    await settle()
    waiting = [
        Transfer(transfer_queue, entry("young", created="2026-01-03T00:00:00Z"), order),
        Transfer(transfer_queue, entry("old", created="2026-01-02T00:00:00Z"), order),
        Transfer(transfer_queue, entry("urgent", priority=1, created="2026-01-04T00:00:00Z"), order),
    ]
    await settle()
    for transfer in [first, *waiting]:
        transfer.leave.set()
    await asyncio.gather(first.task, *(transfer.task for transfer in waiting))
    assert order == ["first", "urgent", "old", "young"]
    assert transfer_queue.busy == 0


async def test_the_first_free_worker_is_taken_so_that_few_are_needed() -> None:
    workers = [worker_of(["true"]) for _ in range(3)]
    transfer_queue = TransferQueue(workers)
    async with transfer_queue.acquire(entry("long")) as long:
        for number in range(3):
            async with transfer_queue.acquire(entry(str(number))) as short:
                assert [long.worker, short.worker] == workers[:2]
    async with transfer_queue.acquire(entry("last")) as last:
        assert last.worker is workers[0]


async def test_a_new_priority_reorders_the_queue() -> None:
    transfer_queue, order = queue(1), list[str]()
    transfers = [
        Transfer(transfer_queue, entry(name, created=f"2026-01-0{n}T00:00:00Z"), order)
        for n, name in enumerate("abc", 1)
    ]
    await settle()
    transfer_queue.reorder(entry("c", 9, "2026-01-03T00:00:00Z"))
    for transfer in transfers:
        transfer.leave.set()
    await asyncio.gather(*(transfer.task for transfer in transfers))
    assert order == ["a", "c", "b"]


async def test_leaving_the_queue_or_a_slot_by_cancellation_loses_no_slot() -> None:
    transfer_queue, order = queue(2), list[str]()
    transfers = [Transfer(transfer_queue, replace(entry("x"), uid=str(number)), order) for number in range(6)]
    await settle()
    for transfer in transfers[1:5]:
        transfer.task.cancel()
    await asyncio.gather(*(transfer.task for transfer in transfers[1:5]), return_exceptions=True)
    await settle()
    assert order == ["0", "1", "5"]
    assert not transfer_queue.stuck
    transfers[0].leave.set()
    transfers[5].leave.set()
    await asyncio.gather(transfers[0].task, transfers[5].task)
    assert transfer_queue.busy == 0


async def test_a_queue_with_free_slots_and_waiting_transfers_is_stuck_and_a_busy_one_is_not() -> None:
    transfer_queue, order = queue(1), list[str]()
    transfer_queue.hold_until_synced({"never"})
    assert not transfer_queue.stuck, "the queue is empty"
    first = Transfer(transfer_queue, entry("first"), order)
    await settle()
    assert (order, transfer_queue.busy, transfer_queue.stuck) == ([], 0, True)
    transfer_queue.mark_synced("never")
    await settle()
    assert (order, transfer_queue.busy, transfer_queue.stuck) == (["first"], 1, False)
    second = Transfer(transfer_queue, entry("second"), order)
    await settle()
    assert (order, transfer_queue.waiting("ns"), transfer_queue.stuck) == (["first"], 1, False), (
        "the second waits for a slot that is taken"
    )
    for transfer in (first, second):
        transfer.leave.set()
    await asyncio.gather(first.task, second.task)
    assert (order, transfer_queue.busy, transfer_queue.stuck) == (["first", "second"], 0, False)


async def test_an_object_that_never_reports_delays_the_queue_for_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "_SYNC_SECONDS", 0.01)
    transfer_queue, order = queue(1), list[str]()
    transfer_queue.hold_until_synced({"never"})
    transfer = Transfer(transfer_queue, entry("first"), order)
    transfer.leave.set()
    await asyncio.wait_for(transfer.task, 20)
    assert not transfer_queue.stuck


@pytest.mark.parametrize("slots", [1, 2, 4])
async def test_one_namespace_never_keeps_the_last_slot_while_another_waits(slots: int) -> None:
    turns = Turns(one_of_many=0.01, longest_of_many=0.02, only_one=0.01, longest_only_one=0.02)
    transfer_queue, order = queue(slots, turns), list[str]()
    crowd = [Transfer(transfer_queue, entry(f"crowd-{n}", 10**9, namespace="crowd"), order) for n in range(slots + 1)]
    await settle()
    alone = Transfer(transfer_queue, entry("alone", namespace="alone"), order)
    await asyncio.wait_for(alone.began.wait(), 20)
    alone.leave.set()
    await alone.task
    for transfer in crowd:
        transfer.leave.set()
    await asyncio.gather(*(transfer.task for transfer in crowd))
    assert sum(transfer.stops for transfer in crowd) >= 1
    assert transfer_queue.busy == 0


async def test_no_slot_is_asked_back_without_another_namespace_that_waits() -> None:
    transfer_queue, order = queue(2, Turns(0.0, 0.0, 0.0, 0.0)), list[str]()
    transfers = [Transfer(transfer_queue, entry(str(n), n), order) for n in range(4)]
    await settle()
    await asyncio.sleep(0.02)
    assert order == ["0", "1"]
    for transfer in transfers:
        transfer.leave.set()
    await asyncio.gather(*(transfer.task for transfer in transfers))


async def test_an_entry_that_is_withdrawn_leaves_the_queue() -> None:
    transfer_queue, order = queue(1), list[str]()
    first = Transfer(transfer_queue, entry("first"), order)
    await settle()
    second = Transfer(transfer_queue, entry("second"), order)
    await settle()
    transfer_queue.withdraw("second")
    with pytest.raises(WithdrawnError):
        await second.task
    transfer_queue.withdraw("first")
    first.leave.set()
    await first.task
    assert (transfer_queue.busy, transfer_queue.waiting("ns")) == (0, 0)


async def test_a_running_transfer_goes_on_with_a_slot_of_another_lane_if_one_is_free() -> None:
    slow, fast, order = queue(1), queue(1), list[str]()
    first = Transfer(slow, entry("first"), order)
    await settle()
    assert slow.hand_over("first", fast)
    second = Transfer(slow, entry("second"), order)
    await settle()
    assert (order, slow.busy, fast.busy, fast.running("ns")) == (["first", "second"], 1, 1, 1)
    assert not slow.hand_over("second", fast), "it is full"
    for transfer in (first, second):
        transfer.leave.set()
    await asyncio.gather(first.task, second.task)
    assert (slow.busy, fast.busy, slow.running("ns"), fast.running("ns")) == (0, 0, 0, 0)
