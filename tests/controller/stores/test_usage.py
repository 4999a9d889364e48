"""When volumes are looked at for the metrics, and that a volume which can't be looked at has no figures."""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from model_provisioner.controller.stores.object_index import ObjectIndex
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.controller.stores.usage import VolumeUsageCollector
from model_provisioner.controller.workers.child_process import WorkerProcess
from model_provisioner.domain.store.claim import Claim
from model_provisioner.transfer.store.store import Store
from tests.support.faulty_volume import faulty_volume
from tests.support.models import put

CLAIM = Claim("models", "models")
OTHER = Claim("models", "other")


class Looks:
    """A surveyor that looks when the test says so; `pauses` are the seconds that it wanted to wait."""

    def __init__(self, store_worker: WorkerProcess, volumes: dict[Claim, Path]) -> None:
        self.recorded: list[dict[str, Any]] = []
        self.pauses: list[float] = []
        self.now = 1000.0
        self._begin = asyncio.Event()
        self._done = asyncio.Semaphore(0)
        stores = StoreClient(volumes, dict.fromkeys(volumes, store_worker), lambda *_: frozenset())
        census = ObjectIndex([CLAIM.namespace], [self])
        self.surveyor = VolumeUsageCollector(stores, census, self._sleep, lambda: self.now)

    def objects(self) -> list[dict[str, Any]]:
        return self.recorded

    def record(self, name: str, store_id: str) -> None:
        """An object whose files were recorded on that store."""
        model = {"claimName": CLAIM.name, "storeID": store_id}
        self.recorded.append({"metadata": {"uid": name, "namespace": CLAIM.namespace}, "status": {"model": model}})

    async def end(self) -> None:
        """Returns when one look has ended."""
        await self._done.acquire()

    async def again(self) -> None:
        """One more look at all that are not being looked at."""
        self._begin.set()
        await self.end()

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._done.release()
        await self._begin.wait()
        self._begin.clear()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


@pytest.fixture
async def looks(volume: Path) -> AsyncIterator[Looks]:
    async with surveying({CLAIM: volume}) as made:
        yield made


@contextlib.asynccontextmanager
async def surveying(volumes: dict[Claim, Path]) -> AsyncIterator[Looks]:
    store_worker = WorkerProcess([sys.executable, "-m", "model_provisioner.cli", "fetch", "--worker"])
    made = Looks(store_worker, volumes)
    running = asyncio.create_task(made.surveyor.run())
    try:
        yield made
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await store_worker.stop()


async def test_a_volume_without_a_store_is_left_as_it_is_and_looked_at_again_soon(looks: Looks, volume: Path) -> None:
    await looks.end()
    assert looks.surveyor.usages == {}
    assert not (volume / ".provisioner").exists()
    put(volume, "hf/acme/old/old.gguf", b"12345")
    Store.open(volume, None).close()
    await looks.again()
    assert looks.surveyor.usages[CLAIM].unheld == 5
    assert looks.pauses == [5, 300]


async def test_a_volume_that_went_away_has_no_figures_until_it_is_back(
    looks: Looks, volume: Path, tmp_path: Path
) -> None:
    await looks.end()
    with Store.open(volume, None) as store:
        looks.record("one", store.id)
    await looks.again()
    assert CLAIM in looks.surveyor.usages
    shutil.move(volume, tmp_path / "elsewhere")
    await looks.again()
    assert looks.surveyor.usages == {}
    shutil.move(tmp_path / "elsewhere", volume)
    await looks.again()
    assert CLAIM in looks.surveyor.usages
    assert looks.pauses == [5, 300, 300, 300]


async def test_while_objects_disagree_which_volume_it_is_nothing_is_told(looks: Looks, volume: Path) -> None:
    await looks.end()
    with Store.open(volume, None) as store:
        looks.record("one", store.id)
    await looks.again()
    assert CLAIM in looks.surveyor.usages
    looks.record("two", "another")
    await looks.again()
    assert looks.surveyor.usages == {}


async def test_a_volume_that_does_not_answer_keeps_its_figures_for_a_while_and_no_other_from_being_looked_at(
    volume: Path, tmp_path: Path
) -> None:
    with faulty_volume(tmp_path / "far") as far:
        for root in (far.root, volume):
            Store.open(root, None).close()
        async with surveying({CLAIM: far.root, OTHER: volume}) as looks:
            await looks.end()
            await looks.end()
            with far.silent():
                put(volume, "hf/acme/old/old.gguf", b"12345")
                await looks.again()
                assert looks.surveyor.usages[OTHER].unheld == 5
                assert CLAIM in looks.surveyor.usages
                looks.now += 301
                await looks.again()
                assert looks.surveyor.usages.keys() == {CLAIM, OTHER}
                looks.now += 300
                assert looks.surveyor.usages.keys() == {OTHER}
            await looks.end()
            assert looks.surveyor.usages.keys() == {CLAIM, OTHER}
