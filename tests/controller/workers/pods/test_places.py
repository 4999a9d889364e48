"""The places of worker pods: never too many, and none for one namespace alone while another waits."""

import asyncio
from collections import defaultdict

from model_provisioner.controller.workers.pods.places import Place, Places
from model_provisioner.domain.scheduling.queueing import Turns, Waiting


class Holders:
    """Claims that hold a place until they are told to end, or until it is wanted back."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.running: dict[str, Place] = {}
        self.began = defaultdict[str, asyncio.Event](asyncio.Event)

    async def start(self, *claims: str) -> None:
        for claim in claims:
            self._tasks[claim] = asyncio.create_task(self._hold(claim))
        await settle()

    async def end(self, claim: str) -> None:
        self._tasks[claim].cancel()
        await asyncio.wait({self._tasks[claim]})
        await settle()

    async def _hold(self, claim: str) -> None:
        async with self._places.acquire(Waiting(claim, claim.partition("/")[0], 0, "")) as place:
            self.running[claim] = place
            self.began[claim].set()
            try:
                await place.wanted_back.wait()
            finally:
                del self.running[claim]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_there_are_no_more_than_in_all_and_in_a_namespace() -> None:
    places = Places(3, 2)
    holders = Holders(places)
    await holders.start("a/1", "a/2", "a/3")
    assert set(holders.running) == {"a/1", "a/2"}
    assert places.is_wanted("a")
    assert not places.is_wanted("b")
    await holders.start("b/1", "b/2")
    assert set(holders.running) == {"a/1", "a/2", "b/1"}
    await holders.end("a/1")
    assert set(holders.running) == {"a/2", "b/1", "a/3"}, (
        "of two with one place each, the one that was served longer ago"
    )
    assert places.is_wanted("a")
    await holders.end("b/1")
    assert set(holders.running) == {"a/2", "b/2", "a/3"}


async def test_a_namespace_without_a_pod_gets_the_place_of_one_with_several() -> None:
    holders = Holders(Places(2, 2, Turns(one_of_many=0.1)))
    await holders.start("a/1", "a/2", "b/1")
    assert set(holders.running) == {"a/1", "a/2"}
    async with asyncio.timeout(60):
        await holders.began["b/1"].wait()
    assert len(holders.running) == 2


async def test_one_that_leaves_while_it_waits_takes_no_place() -> None:
    places = Places(1, 1)
    holders = Holders(places)
    await holders.start("a/1", "b/1")
    await holders.end("b/1")
    assert not places.is_wanted("a")
    await holders.end("a/1")
    await holders.start("c/1")
    assert set(holders.running) == {"c/1"}
