"""What the watch of claims tells, with a scripted server that fails as API servers can.

`test_files_of_worker_pods` has it with a real API server.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from model_provisioner.controller.stores.claim_watch import ClaimWatch
from model_provisioner.controller.stores.file_monitor import FileMonitor, Waiter
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import KubeApi
from tests.kube.watch_server import Document, WatchServer, listing, serving

FIRST, SECOND = Claim("n", "first"), Claim("n", "second")
ABSENT = (404, "NotFound")


def claim(name: str, version: int, volume: str | None = "pv-1") -> Document:
    metadata = {"name": name, "namespace": "n", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"volumeName": volume} if volume else {}}


def deleted(name: str, version: int) -> Document:
    return {"type": "DELETED", "object": claim(name, version)}


class Watched:
    """A watch, and which claims it has told that their objects must be looked at."""

    def __init__(self, api: KubeApi) -> None:
        self.told: list[Claim] = []
        self.changed = asyncio.Event()
        monitor = FileMonitor(StoreClient({}, {}, lambda *_: frozenset()))
        for one in (FIRST, SECOND):
            monitor.add(Waiter(one, "store", (), lambda one=one: self._tell(one), volume_name="pv-1"))  # type: ignore[misc] # a default is no parameter
        self.watch = ClaimWatch(api, ["n"], monitor)

    def _tell(self, one: Claim) -> None:
        self.told.append(one)
        self.changed.set()

    async def until_told(self) -> None:
        async with asyncio.timeout(20):
            await self.changed.wait()


@asynccontextmanager
async def watching(server: WatchServer, directory: Path) -> AsyncIterator[Watched]:
    async with serving(server, directory) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        watched = Watched(api)
        task = asyncio.create_task(watched.watch.run())
        try:
            yield watched
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await api.close()


@pytest.mark.parametrize(
    "answer", [503, 404, 403, claim("first", 12)], ids=["unavailable", "404 of a proxy", "forbidden", "it exists"]
)
async def test_a_claim_that_only_seems_to_be_gone_changes_nothing(tmp_path: Path, answer: Document | int) -> None:
    """The deletion of the second claim, which comes after it, is true."""
    both = listing(10, claim("first", 1), claim("second", 2))
    server = WatchServer([both, answer, ABSENT], [[deleted("first", 11), deleted("second", 12), None]])
    async with watching(server, tmp_path) as watched:
        await watched.until_told()
        assert watched.told == [SECOND]


async def test_a_claim_that_went_before_the_operator_began_is_told(tmp_path: Path) -> None:
    server = WatchServer([listing(10, claim("first", 1)), ABSENT], [[None]])
    async with watching(server, tmp_path) as watched:
        await watched.until_told()
        assert watched.told == [SECOND]


@pytest.mark.parametrize("volume", ["pv-2", None], ids=["another volume", "no volume yet"])
async def test_a_claim_that_was_replaced_is_told(tmp_path: Path, volume: str | None) -> None:
    server = WatchServer([listing(10, claim("first", 1, volume), claim("second", 2))], [[None]])
    async with watching(server, tmp_path) as watched:
        await watched.until_told()
        assert watched.told == [FIRST]
        assert watched.watch.is_replaced(FIRST, "pv-1")
        assert not watched.watch.is_replaced(FIRST, None), "its volume was never known"
        assert not watched.watch.is_replaced(SECOND, "pv-1")
        assert not watched.watch.is_replaced(Claim("n", "third"), "pv-1"), "it is not known"


async def test_what_waits_for_a_claim_is_told_when_it_gets_its_volume(tmp_path: Path) -> None:
    bound = {"type": "MODIFIED", "object": claim("third", 12, "pv-3")}
    both = listing(10, claim("first", 1), claim("second", 2), claim("third", 3, None))
    server = WatchServer([both], [[bound, None]])
    async with watching(server, tmp_path) as watched, asyncio.timeout(20):
        while watched.watch.volume_of(Claim("n", "third")) is None:
            await watched.watch.until_changed(Claim("n", "third"))
    assert watched.told == []
