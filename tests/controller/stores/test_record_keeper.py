"""Ready objects without a record get one at the start and every two minutes; the store is told when all have one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest

from model_provisioner.controller.stores.object_index import ObjectIndex, trim
from model_provisioner.controller.stores.record_keeper import RecordKeeper
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.store.claim import Claim
from model_provisioner.transfer.store.store import Store
from tests.support.models import attest, fetch, holder, plan_of, private_files, sample
from tests.support.worker_processes import worker_of

CLAIM = Claim("models", "models")
FILE = sample(size=1000)


class Round:
    """A keeper whose passes the test starts, on the objects in `documents`."""

    def __init__(self, stores: StoreClient, volume: Path) -> None:
        self.volume = volume
        self.documents: list[dict[str, Any]] = []
        self._begin = asyncio.Event()
        self._done = asyncio.Semaphore(0)
        self.pauses: list[float] = []
        self.rechecked: list[tuple[Claim, list[str]]] = []
        self.keeper = RecordKeeper(stores, ObjectIndex([CLAIM.namespace], [self]), self._recheck, self._sleep)

    def _recheck(self, claim: Claim, paths: Collection[str]) -> None:
        self.rechecked += [(claim, list(paths))] if paths else []

    def objects(self) -> list[dict[str, Any]]:
        return [trim(document) for document in self.documents]

    def add(self, name: str, store_id: str, ready: str = "True", deleting: bool = False) -> None:
        """Adds an object with the file FILE in its status."""
        file = {"path": FILE.path, "sizeBytes": 1000, "digest": str(FILE.planned.digest)}
        model = {"claimName": CLAIM.name, "storeID": store_id, "revision": "c" * 40, "files": [file]}
        metadata = {"namespace": CLAIM.namespace, "name": name, "uid": f"uid-{name}", "resourceVersion": "1"}
        metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleting else {}
        conditions = [{"type": "Stalled", "status": "True"}, {"type": "Ready", "status": ready}]
        self.documents.append({"metadata": metadata, "status": {"conditions": conditions, "model": model}})

    async def end(self) -> None:
        """Returns when a pass has ended."""
        await self._done.acquire()

    async def again(self) -> None:
        self._begin.set()
        await self.end()

    def confirmed(self) -> int:
        """How many claims have confirmed; then forgets it."""
        found = list((self.volume / ".provisioner").glob("confirmed-*.json"))
        for path in found:
            path.unlink()
        return len(found)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._done.release()
        await self._begin.wait()
        self._begin.clear()


@pytest.fixture
async def round_(tmp_path: Path) -> AsyncIterator[Round]:
    (tmp_path / "volume").mkdir()
    store_worker = worker_of()
    stores = StoreClient({CLAIM: tmp_path / "volume"}, {CLAIM: store_worker}, lambda *_: frozenset())
    made = Round(stores, tmp_path / "volume")
    running = asyncio.create_task(made.keeper.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await store_worker.stop()


async def test_a_volume_without_a_store_stays_empty(round_: Round) -> None:
    await round_.end()
    assert list(round_.volume.iterdir()) == []


async def test_only_ready_objects_that_stay_get_a_record_and_then_it_is_confirmed(round_: Round) -> None:
    await round_.end()
    with Store.open(round_.volume, None) as store:
        store.records.settle(holder("first"), plan_of(FILE))
        fetch(store, FILE)
        attest(store, "uid-first", FILE)
    await round_.again()
    assert round_.confirmed() == 1, "also without any object"
    round_.add("first", store.id)
    for number in range(450):
        round_.add(f"m{number}", store.id)
    round_.add("failed", store.id, ready="False")
    round_.add("leaving", store.id, deleting=True)
    await round_.again()
    assert private_files(round_.volume, "holders") == {
        "uid-first.json",
        *(f"uid-m{number}.json" for number in range(450)),
    }
    assert round_.confirmed() == 1
    (round_.volume / ".provisioner/holders/uid-m7.json").unlink()
    await round_.again()
    assert (round_.volume / ".provisioner/holders/uid-m7.json").exists()
    assert round_.confirmed() == 1


async def test_nothing_is_confirmed_while_an_object_is_without_a_record_or_the_volume_is_another(round_: Round) -> None:
    await round_.end()
    with Store.open(round_.volume, None) as store:
        pass
    round_.add("m", store.id)
    await round_.again()
    assert round_.confirmed() == 0, "its file is missing"
    round_.documents.clear()
    round_.add("m", "another")
    await round_.again()
    assert round_.confirmed() == 0
    assert private_files(round_.volume, "holders") == set()


async def test_an_object_whose_content_no_record_attests_gets_none_and_is_looked_at(round_: Round) -> None:
    await round_.end()
    with Store.open(round_.volume, None) as store:
        fetch(store, FILE)
    round_.add("m", store.id)
    await round_.again()
    assert private_files(round_.volume, "holders") == set()
    assert round_.confirmed() == 0
    assert round_.rechecked == [(CLAIM, [FILE.path])]
    assert round_.pauses == [120, 2], "its reconciler reads the file now"
