"""The file monitor checks many Ready models in one request and notifies only those with a changed file."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from model_provisioner.controller.stores.file_monitor import FileMonitor, Waiter
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.modeldownload import Model
from model_provisioner.domain.store.claim import Claim
from model_provisioner.transfer.store.store import Store
from tests.support.models import put
from tests.support.samples import MODEL
from tests.support.worker_processes import worker_of

CLAIM = Claim("models", "models")


class Round:
    """A monitor whose checks the test starts, and models of one small file each."""

    def __init__(self, stores: StoreClient, volume: Path) -> None:
        self.volume = volume
        self._begin = asyncio.Event()
        self._waits = asyncio.Event()
        self.monitor = FileMonitor(stores, self._sleep)
        with Store.open(volume, None) as store:
            self.store_id = store.id

    def model(self, name: str) -> Model:
        path = f"hf/acme/{name}/{name}.gguf"
        put(self.volume, path, b"12345")
        return replace(MODEL, store_id=self.store_id, path=path, files=(FileRecord(path, 5),))

    async def go(self) -> None:
        """Starts the next check; returns when it has ended."""
        await self._waits.wait()
        self._waits.clear()
        self._begin.set()
        await self._waits.wait()

    async def _sleep(self, seconds: float) -> None:
        assert seconds == 60
        self._waits.set()
        await self._begin.wait()
        self._begin.clear()


@pytest.fixture
async def round_(tmp_path: Path) -> AsyncIterator[Round]:
    (tmp_path / "volume").mkdir()
    store_worker = worker_of()
    made = Round(
        StoreClient({CLAIM: tmp_path / "volume"}, {CLAIM: store_worker}, lambda *_: frozenset()), tmp_path / "volume"
    )
    running = asyncio.create_task(made.monitor.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await store_worker.stop()


async def test_only_models_with_a_changed_file_are_notified(round_: Round) -> None:
    models = [round_.model(f"m{number}") for number in range(450)]
    waits = [asyncio.create_task(round_.monitor.until_notified(CLAIM, model)) for model in models]
    await round_.go()
    assert not any(wait.done() for wait in waits)
    (round_.volume / models[7].path).unlink()
    put(round_.volume, models[321].path, b"longer than it was")
    await round_.go()
    await asyncio.sleep(0)
    assert [number for number, wait in enumerate(waits) if wait.done()] == [7, 321]
    for wait in waits:
        wait.cancel()


async def test_a_claim_that_is_no_longer_mounted_does_not_end_the_watch_of_another_claim(round_: Round) -> None:
    kept, unmounted = round_.model("kept"), round_.model("unmounted")
    waits = [
        asyncio.create_task(round_.monitor.until_notified(claim, model))
        for claim, model in ((CLAIM, kept), (Claim("models", "other"), unmounted))
    ]
    await round_.go()
    (round_.volume / kept.path).unlink()
    await round_.go()
    await asyncio.sleep(0)
    assert [wait.done() for wait in waits] == [True, False]
    waits[1].cancel()


async def test_models_of_another_store_are_notified(round_: Round) -> None:
    lost = replace(round_.model("lost"), store_id="another")
    kept = asyncio.create_task(round_.monitor.until_notified(CLAIM, round_.model("kept")))
    notified = asyncio.create_task(round_.monitor.until_notified(CLAIM, lost))
    await round_.go()
    await asyncio.sleep(0)
    assert (kept.done(), notified.done()) == (False, True)
    kept.cancel()


async def test_files_are_looked_at_as_soon_as_the_monitor_runs(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    store_worker = worker_of()
    stores = StoreClient({CLAIM: tmp_path / "volume"}, {CLAIM: store_worker}, lambda *_: frozenset())
    lost = Round(stores, tmp_path / "volume")
    notified = asyncio.Event()
    lost.monitor.add(Waiter(CLAIM, lost.store_id, (FileRecord("hf/acme/lost/lost.gguf", 5),), notified.set))
    running = asyncio.create_task(lost.monitor.run())
    async with asyncio.timeout(30):
        await notified.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await store_worker.stop()
