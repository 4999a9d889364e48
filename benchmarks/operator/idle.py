"""Thousands of models that are Ready: what a start costs, and what their supervision costs.

They are created through the API as the operator leaves them: with finalizer, status, a sparse file and a holder record
on the volume, and with names and headers like those of real models. A catalog has room for about 800 models, so they
are spread over namespaces with a store each.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.operator.figures import Figure
from benchmarks.operator.stage import CLAIM, Operator, Stage, Watching, manifest
from model_provisioner.domain.lifecycle.events import Available, Resolved, Started
from model_provisioner.domain.lifecycle.snapshot import Snapshot, advance
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.model_facts import FileRecord, GGUFSummary
from model_provisioner.domain.modeldownload import DigestSource, Model, Status
from model_provisioner.domain.quantity import format_bytes
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.holders import HeldFile, HolderRecord
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.resource import FINALIZER, collection_path, object_path, status_document
from model_provisioner.transfer.store.documents import encode_holder
from model_provisioner.transfer.store.store import Store
from tests.support.ggufs import tiny_gguf

_PER_NAMESPACE = 500
_OWNER, _MODEL, _QUANTIZATION = "bartowski", "Meta-Llama-3.1-8B-Instruct", "Q4_K_M"
_GGUF = GGUFSummary("llama", "Meta Llama 3.1 8B Instruct", 8_030_261_312, _QUANTIZATION, 131_072, "llama3.1", True)
_AT_ONCE = 16
_SIZE = 1024 * 1024
_DIGEST = f"sha256:{'0' * 64}"
_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_QUIET_SECONDS = 10.0
_THEIRS = ("modeldownloads", "events", "configmaps")


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace, its volume, and the id of the store on it."""

    namespace: str
    volume: Path
    store_id: str


def idle(stage: Stage, count: int, seconds: float) -> list[Figure]:
    """Figures of two starts of the operator: with one new object, and with no work at all."""
    names = make_ready(stage, count)
    stage.hub.repository("acme/fresh").add("fresh.Q4_K_M.gguf", tiny_gguf())
    with Watching(stage) as watching:
        begun = time.time()
        with stage.operator(*names):
            stage.cluster.api.create(collection_path(names[0]), manifest("fresh", "hf:acme/fresh"))
            watching.until_ready(["fresh"], 180)
            _until_quiet(stage)
    started = watching.observed["fresh"] - begun
    before = stage.writes()
    with stage.operator(*names) as operator:
        _until_calm(operator)
        share = _share_of_a_core(operator, seconds)
        written = stage.writes() - before
        scrapes = operator.answered["/metrics"]
        memory, together = operator.memory(), operator.memory_with_workers()
    return [
        Figure(f"{count} Ready objects: start → first status of a new object", started, "s", 15, 8),
        Figure("… start → that object is Ready", watching.ready["fresh"] - begun, "s"),
        Figure("… most memory of the operator", memory, "MiB", 400, 300),
        Figure("… most memory of the operator and its workers together", together, "MiB"),
        Figure(f"… CPU over {seconds:g} s, operator and workers", share, "% of a core", 2),
        Figure("… scrapes that it had answered by then", scrapes),
        Figure("… writes after a restart, but for the Lease", _counted(written), "", 0),
    ]


def make_ready(stage: Stage, count: int) -> list[str]:
    """Makes `count` objects that are Ready, and returns their namespaces."""
    places = list(_places(stage, namespaces(count)))
    asyncio.run(_make(stage, places, count))
    return [place.namespace for place in places]


def namespaces(count: int) -> int:
    """The number of namespaces for `count` objects."""
    return -(-count // _PER_NAMESPACE)


def _places(stage: Stage, number: int) -> Iterator[Place]:
    for index in range(number):
        volume = stage.add_namespace(f"idle-{index}")
        with Store.open(volume, None) as store:
            yield Place(f"idle-{index}", volume, store.id)


async def _make(stage: Stage, places: list[Place], count: int) -> None:
    api = await KubeApi.connect(stage.cluster.kubeconfig)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def make(number: int) -> None:
        async with gate:
            await _make_one(api, places[number % len(places)], number)

    try:
        await asyncio.gather(*map(make, range(count)))
    finally:
        await api.close()


async def _make_one(api: KubeApi, place: Place, number: int) -> None:
    repository = f"{_OWNER}/{_MODEL}-{number}-GGUF"
    name = f"{_MODEL}-{number}".lower().replace(".", "-")
    path = f"hf/{repository}/{_MODEL}-{number}-{_QUANTIZATION}.gguf"
    ref = f"hf:{repository}:{_QUANTIZATION}"
    applied = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(manifest(name, ref))}
    body = manifest(name, ref, finalizers=[FINALIZER], annotations=applied)
    made = await api.create(collection_path(place.namespace), body)
    file = place.volume / path
    file.parent.mkdir(parents=True)
    with file.open("wb") as sparse:
        sparse.truncate(_SIZE)
    uid = made["metadata"]["uid"]
    held = HeldFile(path, _SIZE, Digest.parse(_DIGEST), mtime_ns=file.stat().st_mtime_ns)
    record = HolderRecord(uid, place.namespace, name, "c" * 40, (held,))
    (place.volume / ".provisioner" / "holders" / f"{uid}.json").write_bytes(encode_holder(record))
    status = status_document(_ready(path, place.store_id))
    await api.patch(f"{object_path(place.namespace, name)}/status", {"status": status})


def _ready(path: str, store_id: str) -> Status:
    """Exactly the status that the operator writes; it would correct any other one."""
    file = FileRecord(path, _SIZE, _DIGEST)
    size = format_bytes(_SIZE)
    model = Model(CLAIM, store_id, path, size, _SIZE, DigestSource.SOURCE, (file,), "c" * 40, _DIGEST, _GGUF)
    snapshot = Snapshot()
    for event in (Resolved(model), Started(model, 0), Available(model)):
        snapshot = advance(snapshot, event, _MOMENT)
    return project(snapshot, 1, _MOMENT, Status())


def _until_quiet(stage: Stage) -> None:
    """Returns when nothing was written for ten seconds, or after a minute and a half."""
    before, since, deadline = stage.writes(), time.monotonic(), time.monotonic() + 90
    while time.monotonic() < min(deadline, since + _QUIET_SECONDS):
        time.sleep(2)
        now = stage.writes()
        if _counted(now - before):
            before, since = now, time.monotonic()


def _until_calm(operator: Operator) -> None:
    """Returns when the start is over: less than a third of a core for nine seconds, or after a minute and a half."""
    deadline, calm = time.monotonic() + 90, 0
    while calm < 3 and time.monotonic() < deadline:
        calm = calm + 1 if _share_of_a_core(operator, 3) < 33 else 0


def _share_of_a_core(operator: Operator, seconds: float) -> float:
    before = operator.cpu_with_workers()
    time.sleep(seconds)
    return 100 * (operator.cpu_with_workers() - before) / seconds


def _counted(writes: Counter[str]) -> int:
    return sum(number for kind, number in writes.items() if kind.startswith(_THEIRS))
