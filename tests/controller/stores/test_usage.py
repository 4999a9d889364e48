"""When volumes are surveyed for the metrics; a volume that cannot be surveyed has no usage."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from model_provisioner.controller.metrics.metrics import Metrics
from model_provisioner.controller.process.collectors import register_work
from model_provisioner.controller.stores.object_index import ObjectIndex
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.controller.stores.usage import VolumeUsageCollector
from model_provisioner.controller.transfers.queue import Lanes
from model_provisioner.controller.transfers.queues import Queues
from model_provisioner.controller.transfers.reservations import Reservations
from model_provisioner.domain.store.claim import Claim
from model_provisioner.transfer.store.store import Store
from model_provisioner.worker_processes.child_process import WorkerProcess
from tests.support.faulty_volume import faulty_volume
from tests.support.models import put
from tests.support.worker_processes import worker_of

CLAIM = Claim("models", "models")
OTHER = Claim("models", "other")


class Surveys:
    """A collector whose surveys the test starts; `pauses` are the seconds between surveys that it asked for."""

    def __init__(self, store_worker: WorkerProcess, volumes: dict[Claim, Path]) -> None:
        self.recorded: list[dict[str, Any]] = []
        self.pauses: list[float] = []
        self.now = 1000.0
        self._begin = asyncio.Event()
        self._done = asyncio.Semaphore(0)
        stores = StoreClient(volumes, dict.fromkeys(volumes, store_worker), lambda *_: frozenset())
        index = ObjectIndex([CLAIM.namespace], [self])
        self.collector = VolumeUsageCollector(stores, index, self._sleep, lambda: self.now)

    def objects(self) -> list[dict[str, Any]]:
        return self.recorded

    def record(self, name: str, store_id: str) -> None:
        """Adds an object with `store_id` in its status."""
        model = {"claimName": CLAIM.name, "storeID": store_id}
        self.recorded.append({"metadata": {"uid": name, "namespace": CLAIM.namespace}, "status": {"model": model}})

    async def end(self) -> None:
        """Returns when one survey has ended."""
        await self._done.acquire()

    async def again(self) -> None:
        """Starts a survey of every claim that waits for one; returns when one survey has ended."""
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
async def surveys(volume: Path) -> AsyncIterator[Surveys]:
    async with collecting({CLAIM: volume}) as made:
        yield made


@contextlib.asynccontextmanager
async def collecting(volumes: dict[Claim, Path]) -> AsyncIterator[Surveys]:
    store_worker = worker_of()
    made = Surveys(store_worker, volumes)
    running = asyncio.create_task(made.collector.run())
    try:
        yield made
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await store_worker.stop()


async def test_a_volume_without_a_store_is_not_changed_and_surveyed_again_soon(surveys: Surveys, volume: Path) -> None:
    await surveys.end()
    assert surveys.collector.usages == {}
    assert not (volume / ".provisioner").exists()
    put(volume, "hf/acme/old/old.gguf", b"12345")
    with Store.open(volume, None) as store:
        surveys.record("one", store.id)
    await surveys.again()
    assert surveys.collector.usages[CLAIM].unheld == 5
    assert surveys.pauses == [5, 300]


async def test_a_store_that_no_object_names_is_surveyed_after_five_minutes(surveys: Surveys, volume: Path) -> None:
    await surveys.end()
    Store.open(volume, None).close()
    for _ in range(59):
        await surveys.again()
    assert surveys.collector.usages == {}
    await surveys.again()
    assert CLAIM in surveys.collector.usages
    assert surveys.pauses == [5] * 60 + [300]


async def test_a_volume_that_is_lost_has_no_usage_until_it_is_back(
    surveys: Surveys, volume: Path, tmp_path: Path
) -> None:
    await surveys.end()
    with Store.open(volume, None) as store:
        surveys.record("one", store.id)
    await surveys.again()
    assert CLAIM in surveys.collector.usages
    shutil.move(volume, tmp_path / "elsewhere")
    await surveys.again()
    assert surveys.collector.usages == {}
    shutil.move(tmp_path / "elsewhere", volume)
    await surveys.again()
    assert CLAIM in surveys.collector.usages
    assert surveys.pauses == [5, 300, 300, 300]


async def test_there_is_no_usage_while_objects_disagree_about_the_volume(surveys: Surveys, volume: Path) -> None:
    await surveys.end()
    with Store.open(volume, None) as store:
        surveys.record("one", store.id)
    await surveys.again()
    assert CLAIM in surveys.collector.usages
    surveys.record("two", "another")
    await surveys.again()
    assert surveys.collector.usages == {}


async def test_free_space_that_makes_no_sense_is_no_metric(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    with faulty_volume(tmp_path / "odd") as odd:
        Store.open(odd.root, None).close()
        put(odd.root, "hf/acme/old/old.gguf", b"12345")
        odd.answer(f_blocks=0, f_bfree=0, f_bavail=0)
        async with collecting({CLAIM: odd.root}) as surveys:
            metrics = Metrics(registry, lambda: 0.0)
            register_work(metrics, list, Queues(Lanes({})), Reservations(), surveys.collector, lambda: 0.0)
            await surveys.end()
            page = generate_latest(registry).decode()
            assert "volume_free_bytes{" not in page
            assert 'volume_unheld_bytes{claim="models",namespace="models"} 5.0' in page
            odd.answer()
            await surveys.again()
            assert "volume_free_bytes{" in generate_latest(registry).decode()


async def test_a_volume_that_hangs_keeps_its_usage_for_a_while_and_does_not_delay_another_one(
    volume: Path, tmp_path: Path
) -> None:
    with faulty_volume(tmp_path / "far") as far:
        for root in (far.root, volume):
            Store.open(root, None).close()
        async with collecting({CLAIM: far.root, OTHER: volume}) as surveys:
            await surveys.end()
            await surveys.end()
            with far.silent():
                put(volume, "hf/acme/old/old.gguf", b"12345")
                await surveys.again()
                assert surveys.collector.usages[OTHER].unheld == 5
                assert CLAIM in surveys.collector.usages
                surveys.now += 301
                await surveys.again()
                assert surveys.collector.usages.keys() == {CLAIM, OTHER}
                surveys.now += 300
                assert surveys.collector.usages.keys() == {OTHER}
            await surveys.end()
            assert surveys.collector.usages.keys() == {CLAIM, OTHER}
