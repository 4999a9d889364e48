"""Many Ready models are looked after together, and only who has a reason is told."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from model_provisioner.controller.stores.file_monitor import FileMonitor
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.controller.workers.child_process import WorkerProcess
from model_provisioner.domain.modeldownload import FileRecord, Model
from model_provisioner.domain.store.claim import Claim
from model_provisioner.transfer.store.store import Store
from tests.support.models import put
from tests.support.samples import MODEL

CLAIM = Claim("models", "models")


class Round:
    """A patrol whose rounds begin when the test says so, over models of one small file each."""

    def __init__(self, stores: StoreClient, volume: Path) -> None:
        self.volume = volume
        self._begin = asyncio.Event()
        self._waits = asyncio.Event()
        self.patrol = FileMonitor(stores, self._sleep)
        with Store.open(volume, None) as store:
            self.store_id = store.id

    def model(self, name: str) -> Model:
        path = f"hf/acme/{name}/{name}.gguf"
        put(self.volume, path, b"12345")
        return replace(MODEL, store_id=self.store_id, path=path, files=(FileRecord(path, 5),))

    async def go(self) -> None:
        """Returns when the next round is over."""
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
    store_worker = WorkerProcess([sys.executable, "-m", "model_provisioner.cli", "fetch", "--worker"])
    made = Round(
        StoreClient({CLAIM: tmp_path / "volume"}, {CLAIM: store_worker}, lambda *_: frozenset()), tmp_path / "volume"
    )
    running = asyncio.create_task(made.patrol.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await store_worker.stop()


async def test_only_who_lost_a_file_is_told(round_: Round) -> None:
    models = [round_.model(f"m{number}") for number in range(450)]
    waits = [asyncio.create_task(round_.patrol.until_notified(CLAIM, model)) for model in models]
    await round_.go()
    assert not any(wait.done() for wait in waits)
    (round_.volume / models[7].path).unlink()
    put(round_.volume, models[321].path, b"longer than it was")
    await round_.go()
    await asyncio.sleep(0)
    assert [number for number, wait in enumerate(waits) if wait.done()] == [7, 321]
    for wait in waits:
        wait.cancel()


async def test_a_claim_that_is_not_mounted_any_more_ends_nobody_elses_watch(round_: Round) -> None:
    kept, unmounted = round_.model("kept"), round_.model("unmounted")
    waits = [
        asyncio.create_task(round_.patrol.until_notified(claim, model))
        for claim, model in ((CLAIM, kept), (Claim("models", "other"), unmounted))
    ]
    await round_.go()
    (round_.volume / kept.path).unlink()
    await round_.go()
    await asyncio.sleep(0)
    assert [wait.done() for wait in waits] == [True, False]
    waits[1].cancel()


async def test_all_are_told_when_the_volume_is_another(round_: Round) -> None:
    lost = replace(round_.model("lost"), store_id="another")
    kept = asyncio.create_task(round_.patrol.until_notified(CLAIM, round_.model("kept")))
    told = asyncio.create_task(round_.patrol.until_notified(CLAIM, lost))
    await round_.go()
    await asyncio.sleep(0)
    assert (kept.done(), told.done()) == (False, True)
    kept.cancel()
