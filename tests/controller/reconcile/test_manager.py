"""Nothing runs for a settled object until it or its files change."""

import asyncio
import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from deploy.local.cluster import Cluster
from model_provisioner.controller.metrics.metrics import Metrics
from model_provisioner.controller.reconcile.dependencies import Dependencies
from model_provisioner.controller.reconcile.manager import Manager
from model_provisioner.controller.reconcile.settled_objects import packed
from model_provisioner.controller.stores.file_monitor import FileMonitor
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.lifecycle.events import Available, Resolved, Started
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.modeldownload import Status
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.resource import parse, status_document
from tests.support.samples import FILE, MODEL, NOW, after

CLAIM = Claim("models", "models")
STATUS = project(after(Resolved(MODEL), Started(MODEL, 0), Available(MODEL)), 1, NOW, Status())
DOCUMENT: dict[str, Any] = {
    "metadata": {"namespace": "models", "name": "tiny", "uid": "u", "resourceVersion": "7", "generation": 1},
    "spec": {"modelRef": "hf:a/b"},
    "status": status_document(STATUS),
}


def version(number: int, **metadata: object) -> dict[str, Any]:
    """A version without our finalizer, of an object that does not exist: its reconciliation looks for it and ends."""
    document = copy.deepcopy(DOCUMENT)
    document["metadata"] |= {"resourceVersion": str(number), **metadata}
    return document


def _reconciliations() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if "Manager" in repr(task.get_coro())}


class Room:
    """A manager with one settled object, version 7. Of its parts, those that only an attempt uses are left out."""

    def __init__(self, api: KubeApi) -> None:
        stores = StoreClient({CLAIM: Path("/none")}, {}, lambda *_: frozenset())
        self.monitor = FileMonitor(stores)
        self.registry = CollectorRegistry()
        unused = cast("Any", None)
        self.manager = Manager(
            Dependencies(
                api=api,
                stores=stores,
                file_monitor=self.monitor,
                queues=unused,
                transfers=unused,
                resolve_client=unused,
                catalog=unused,
                event_recorder=unused,
                metrics=Metrics(self.registry, lambda: 0.0),
                endpoints=unused,
                now=lambda: NOW,
                progress_interval=lambda: 1.0,
            )
        )
        self.manager.add_settled(parse(DOCUMENT), packed(DOCUMENT))

    @property
    def running(self) -> int:
        return len(_reconciliations())

    @property
    def counted(self) -> bool:
        return b'reason="Available"} 1.0' in generate_latest(self.registry)


@pytest.fixture
async def room(cluster: Cluster) -> AsyncIterator[Room]:
    api = await KubeApi.connect(cluster.kubeconfig)
    made = Room(api)
    yield made
    await made.manager.stop()
    await api.close()


async def test_a_settled_object_has_no_task_and_is_counted(room: Room) -> None:
    assert (room.running, room.counted, room.manager.uids) == (0, True, frozenset({"u"}))
    delivered = version(7, annotations={"a": "b"})
    assert not room.manager.observe(delivered)
    assert room.running == 0
    assert delivered == {"metadata": version(7)["metadata"]}, "kopf keeps only what it reads"
    room.manager.observe(version(6))
    assert room.running == 0, "an older version changes nothing"


async def test_a_newer_version_starts_a_reconciliation_and_the_end_of_the_object_ends_it(room: Room) -> None:
    room.manager.observe(version(8))
    assert (room.running, room.manager.uids) == (1, frozenset({"u"}))
    room.manager.observe(version(9))
    assert room.running == 1
    room.manager.forget("u")
    await asyncio.wait(_reconciliations(), timeout=30)
    await asyncio.sleep(0)  # until its callbacks are called
    assert (room.running, room.manager.uids) == (0, frozenset())


async def test_a_reconciliation_of_an_object_that_is_gone_ends_by_itself(room: Room) -> None:
    room.manager.observe(version(8))
    await asyncio.wait(_reconciliations(), timeout=30)
    assert (room.running, room.manager.uids) == (0, frozenset())


async def test_changed_files_start_a_reconciliation_of_the_object_as_it_was(room: Room) -> None:
    room.monitor.notify_paths(CLAIM, {"hf/another.gguf"})
    assert room.running == 0
    room.monitor.notify_paths(CLAIM, {FILE.path})
    assert room.running == 1
    room.monitor.notify_paths(CLAIM, {FILE.path})
    assert room.running == 1


async def test_nothing_is_kept_of_a_settled_object_that_is_being_deleted(room: Room) -> None:
    room.manager.observe(version(8, deletionTimestamp="2026-01-01T00:00:00Z"))
    assert (room.running, room.counted, room.manager.uids) == (0, False, frozenset())
    room.monitor.notify_paths(CLAIM, {FILE.path})
    assert room.running == 0


async def test_nothing_starts_after_the_stop(room: Room) -> None:
    await room.manager.stop()
    room.manager.observe(version(8))
    assert room.running == 0
