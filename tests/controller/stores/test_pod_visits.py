"""When the steps of a visit are made: as soon as a pod has connected, and again while it is."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from model_provisioner.controller.stores.pod_visits import PodVisits
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.errors import WorkerLost
from model_provisioner.domain.store.claim import Claim
from model_provisioner.worker_processes.worker import Worker

CLAIM, OTHER = Claim("a", "models"), Claim("b", "models")


class Pods:
    """Which claims have a connected pod."""

    def __init__(self) -> None:
        self.ready = {CLAIM, OTHER}

    def worker(self, claim: Claim) -> Worker:
        raise AssertionError(f"nothing here asks the worker of {claim}")

    def is_ready(self, claim: Claim) -> bool:
        return claim in self.ready

    async def until_ready(self, claim: Claim) -> None:
        raise AssertionError(f"nothing here waits for {claim}")


class Rounds:
    """Visits whose pauses the test ends. `made` are the steps in their order."""

    def __init__(self) -> None:
        self.pods = Pods()
        self.made = asyncio.Queue[tuple[str, Claim]]()
        self.fails = False
        self._pause_over = asyncio.Event()
        stores = StoreClient({}, {}, lambda *_: frozenset(), pods=self.pods)
        self.visits = PodVisits(stores, [self._first, self._second], self._sleep)

    def end_pause(self) -> None:
        self._pause_over.set()

    async def step(self) -> tuple[str, Claim]:
        async with asyncio.timeout(20):
            return await self.made.get()

    async def _first(self, claim: Claim) -> None:
        self.made.put_nowait(("first", claim))
        if self.fails:
            raise WorkerLost("it was lost")

    async def _second(self, claim: Claim) -> None:
        self.made.put_nowait(("second", claim))

    async def _sleep(self, seconds: float) -> None:
        assert seconds == 240
        await self._pause_over.wait()
        self._pause_over.clear()


@pytest.fixture
async def rounds() -> AsyncIterator[Rounds]:
    made = Rounds()
    running = asyncio.create_task(made.visits.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_visit_begins_when_the_pod_connects(rounds: Rounds) -> None:
    rounds.visits.begin(CLAIM)
    assert [await rounds.step() for _ in range(2)] == [("first", CLAIM), ("second", CLAIM)]


async def test_a_step_that_fails_does_not_end_the_visit(rounds: Rounds) -> None:
    rounds.fails = True
    rounds.visits.begin(CLAIM)
    assert [await rounds.step() for _ in range(2)] == [("first", CLAIM), ("second", CLAIM)]


async def test_it_is_made_again_while_the_pod_is_connected_and_not_afterwards(rounds: Rounds) -> None:
    for claim in (CLAIM, OTHER):
        rounds.visits.begin(claim)
    for _ in range(4):
        await rounds.step()
    rounds.pods.ready = {OTHER}
    rounds.end_pause()
    assert [await rounds.step() for _ in range(2)] == [("first", OTHER), ("second", OTHER)]
    rounds.pods.ready = {CLAIM, OTHER}
    rounds.end_pause()
    assert [await rounds.step() for _ in range(2)] == [("first", OTHER), ("second", OTHER)], (
        "the other one is forgotten"
    )
    rounds.visits.begin(CLAIM)
    assert await rounds.step() == ("first", CLAIM)
