"""The garbage of objects that were deleted while no operator ran is removed, but never on a wrong volume."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from model_provisioner.controller.stores.garbage_collector import GarbageCollector
from model_provisioner.controller.stores.object_index import ObjectIndex, trim
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.holders import Holder
from model_provisioner.kube.resource import FINALIZER
from model_provisioner.transfer.store.store import Store
from tests.support.models import files_below, plan_of, private_files, put, sample
from tests.support.programs import eventually
from tests.support.stand import CLAIM, Stand
from tests.support.worker_processes import worker_of

NAMESPACE = "models"
FILE = sample("hf/acme/gone/gone.gguf")


def leave_behind(volume: Path, namespace: str = NAMESPACE, uid: str = "uid-gone") -> str:
    """Writes the record and the part of a deleted object, and a published file; returns the id of the store."""
    put(volume, "hf/acme/other/kept.gguf", b"kept")
    with Store.open(volume, None) as store:
        store.records.settle(Holder(uid, namespace, "gone"), plan_of(FILE))
        part = store.files.part(FILE.planned, 1)
        part.commit(Spans())
        part.close()
        return store.id


def test_the_records_and_parts_of_a_deleted_object_are_removed_when_an_operator_starts(bench: Stand) -> None:
    leave_behind(bench.volume, bench.namespace)
    with Store.open(bench.volume, None) as store:
        store.records.settle(Holder("uid-stranger", "elsewhere", "other"), plan_of(sample("hf/acme/b/b.gguf")))
    bench.start_operator()
    eventually(lambda: private_files(bench.volume, "holders") == {"uid-stranger.json"}, "the record is swept")
    assert private_files(bench.volume, "parts") == set()
    assert files_below(bench.volume) == {"hf/acme/other/kept.gguf"}
    eventually(lambda: "removed 1 parts and 1 records" in bench.operator_output(), "it is said")


class Documents:
    """A lister of these objects."""

    def __init__(self, *documents: dict[str, Any]) -> None:
        self.documents = list(documents)

    def objects(self) -> list[dict[str, Any]]:
        return self.documents


def document(uid: str, store_id: str | None = None) -> dict[str, Any]:
    model = {"model": {"claimName": CLAIM, "storeID": store_id}} if store_id else {}
    return {"metadata": {"namespace": NAMESPACE, "name": uid, "uid": uid}, "status": model}


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[StoreClient]:
    (tmp_path / "volume").mkdir()
    store_worker = worker_of()
    yield StoreClient(
        {Claim(NAMESPACE, CLAIM): tmp_path / "volume"}, {Claim(NAMESPACE, CLAIM): store_worker}, lambda *_: frozenset()
    )
    await store_worker.stop()


async def sweep_once(stores: StoreClient, *documents: dict[str, Any], active: frozenset[str] = frozenset()) -> None:
    swept = asyncio.Event()

    async def sleep(seconds: float) -> None:
        assert seconds == 3600
        swept.set()
        await asyncio.Event().wait()

    collector = GarbageCollector(stores, ObjectIndex([NAMESPACE], [Documents(*documents)]), lambda: active, sleep)
    running = asyncio.create_task(collector.run())
    await swept.wait()
    running.cancel()


async def test_a_listed_or_active_object_keeps_what_it_holds(stores: StoreClient, tmp_path: Path) -> None:
    store_id = leave_behind(tmp_path / "volume")
    await sweep_once(stores, document("uid-gone", store_id))
    await sweep_once(stores, active=frozenset({"uid-gone"}))
    assert private_files(tmp_path / "volume", "holders") == {"uid-gone.json"}
    await sweep_once(stores, document("uid-there", store_id))
    assert private_files(tmp_path / "volume", "holders") == set()


def deleted(uid: str, store_id: str, *finalizers: str) -> dict[str, Any]:
    found = document(uid, store_id)
    deletion = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": list(finalizers), "resourceVersion": "1"}
    return {**found, "metadata": {**found["metadata"], **deletion}}


@pytest.mark.parametrize("seen", [trim, dict], ids=["trimmed", "whole"])
async def test_an_object_that_is_being_deleted_holds_until_it_is_released(
    stores: StoreClient, tmp_path: Path, seen: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    store_id = leave_behind(tmp_path / "volume")
    await sweep_once(stores, seen(deleted("uid-gone", store_id, FINALIZER, "example.com/backup")))
    assert private_files(tmp_path / "volume", "holders") == {"uid-gone.json"}
    await sweep_once(stores, seen(deleted("uid-gone", store_id, "example.com/backup")), document("uid-there", store_id))
    assert private_files(tmp_path / "volume", "holders") == set()


@pytest.mark.parametrize("seen", [trim, dict], ids=["trimmed", "whole"])
def test_a_released_object_has_no_say_in_which_volume_is_the_right_one(
    seen: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    claim = Claim(NAMESPACE, CLAIM)
    held, released = deleted("held", "one", FINALIZER), deleted("released", "other", "example.com/backup")
    index = ObjectIndex([NAMESPACE], [Documents(seen(held), seen(released))])
    assert index.store_ids(claim) == {"one"}
    assert index.uids() == {"held"}


async def test_a_store_that_is_not_the_recorded_one_is_left_alone(stores: StoreClient, tmp_path: Path) -> None:
    store_id = leave_behind(tmp_path / "volume")
    await sweep_once(stores, document("uid-there", "another"))
    await sweep_once(stores, document("uid-there", "another"), document("uid-too", store_id))
    assert private_files(tmp_path / "volume", "holders") == {"uid-gone.json"}


async def test_an_empty_volume_stays_empty(stores: StoreClient, tmp_path: Path) -> None:
    await sweep_once(stores)
    await sweep_once(stores, document("uid-there", "recorded"))
    assert list((tmp_path / "volume").iterdir()) == []
