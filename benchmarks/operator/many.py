"""Many small models, at once and one by one: what a download costs the API server, and how soon it is Ready."""

import asyncio
import statistics
import time
from collections import Counter
from dataclasses import dataclass

from benchmarks.operator.figures import Figure
from benchmarks.operator.stage import Document, Stage, Watching, manifest
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.resource import collection_path
from tests.support.ggufs import tiny_gguf

_MIB = 1024 * 1024
_AT_ONCE = 8
_PATIENCE_SECONDS = 300.0
_OURS = ("modeldownloads", "events", "configmaps", "leases")


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the request that creates an object to the hub's first request for its bytes, and on to Ready."""

    asked: float
    ready: float


def many(stage: Stage, count: int) -> tuple[list[Figure], Counter[str]]:
    """Figures of `count` objects of 1 MiB each, created as fast as the API server accepts them, and writes by kind."""
    _fill(stage, "many", count, tiny_gguf(size=_MIB))
    stage.add_namespace("many")
    with stage.operator("many") as operator:
        _warm_up(stage, "many")
        applies = stage.applies()
        before, cpu, all_cpu = stage.writes(), operator.cpu(), operator.cpu_with_workers()
        begun = time.time()
        with Watching(stage) as watching:
            asyncio.run(_create(stage, "many", count))
            watching.until_ready([f"many-{number}" for number in range(count)], _PATIENCE_SECONDS)
        elapsed = max(watching.ready.values()) - begun
        time.sleep(3)  # Events and the last batch of the catalog are written after Ready
        writes = Counter({kind: n for kind, n in (stage.writes() - before).items() if kind.startswith(_OURS)})
        return [
            Figure(f"{count} objects of 1 MiB: until all are Ready", elapsed, "s"),
            Figure("… writes to the API server per download", writes.total() / count, "", 8, 6),
            Figure("… applies of the catalog", writes["configmaps APPLY"] + writes["configmaps PATCH"]),
            Figure("… one apply, by the API server's clock, mean", stage.applies().mean_since(applies), "s"),
            Figure("… bytes of the catalog", _catalog_bytes(stage) / 1024, "KiB"),
            Figure("… CPU of the operator", operator.cpu() - cpu, "s"),
            Figure("… CPU of the operator and its workers", operator.cpu_with_workers() - all_cpu, "s"),
            Figure("… most memory of the operator", operator.memory(), "MiB", 180, 150),
            Figure("… most memory of the operator and its workers together", operator.memory_with_workers(), "MiB"),
            *_all_at_once_gone(stage, "many"),
        ], writes


def _all_at_once_gone(stage: Stage, namespace: str) -> list[Figure]:
    """Deletes all objects with one request; the operator deletes their files."""
    begun = time.time()
    stage.cluster.api.delete(collection_path(namespace))
    while stage.cluster.api.get(f"{collection_path(namespace)}?limit=1")["items"]:
        if time.time() - begun > _PATIENCE_SECONDS:
            raise TimeoutError("not all are deleted")
        time.sleep(0.2)
    gone = time.time() - begun
    files = sum(file.suffix == ".gguf" for file in stage.volumes[namespace].rglob("*"))
    return [
        Figure("… all deleted with their files at once: until the last is gone", gone, "s"),
        Figure("… files that are left", files, "", 0),
    ]


def soon(stage: Stage, rounds: int) -> list[Figure]:
    """Figures of one small model after the other, with an operator that has no other work."""
    _fill(stage, "soon", rounds, tiny_gguf())
    stage.add_namespace("soon")
    with stage.operator("soon"):
        _warm_up(stage, "soon")
        applies = stage.applies()
        with Watching(stage) as watching:
            found = [_one(stage, watching, number) for number in range(rounds)]
        apply = stage.applies().mean_since(applies)
    return [
        Figure("created → first byte asked for, median", statistics.median(one.asked for one in found), "s", 1, 0.3),
        Figure("… the longest", max(one.asked for one in found), "s"),
        Figure("last byte → Ready (64 KiB), median", statistics.median(one.ready for one in found), "s", 1, 0.3),
        Figure("… the longest", max(one.ready for one in found), "s"),
        Figure("… of it the apply of the catalog, by the API server's clock, mean", apply, "s"),
    ]


def _one(stage: Stage, watching: Watching, number: int) -> Latency:
    """The hub records the time of a request. A file this small is sent at once, so that is also the time of its end."""
    name = f"soon-{number}"
    time.sleep(1.1)  # the catalog applies at most once a second: so this one does not wait
    begun = time.time()
    stage.cluster.api.create(collection_path("soon"), manifest(name, f"hf:acme/{name}"))
    watching.until_ready([name], 60)
    asked = [one.time for one in stage.hub.log if one.origin == "content" and f"{name}." in one.path]
    return Latency(min(asked) - begun, watching.ready[name] - max(asked))


def _fill(stage: Stage, name: str, count: int, content: bytes) -> None:
    for number in range(count):
        stage.hub.repository(f"acme/{name}-{number}").add(f"{name}-{number}.Q4_K_M.gguf", content)
    stage.hub.repository(f"acme/{name}-first").add(f"{name}-first.Q4_K_M.gguf", content)


def _warm_up(stage: Stage, namespace: str) -> None:
    """Returns when the operator has downloaded one model, so that its start is not measured."""
    with Watching(stage) as watching:
        stage.cluster.api.create(collection_path(namespace), _passing("first", f"hf:acme/{namespace}-first"))
        watching.until_ready(["first"], 60)
    time.sleep(3)


def _passing(name: str, ref: str) -> Document:
    """An object whose files are deleted with it."""
    body = manifest(name, ref)
    return {**body, "spec": {**body["spec"], "reclaimPolicy": "Delete"}}


async def _create(stage: Stage, namespace: str, count: int) -> None:
    api = await KubeApi.connect(stage.cluster.kubeconfig)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def create(number: int) -> None:
        async with gate:
            name = f"{namespace}-{number}"
            await api.create(collection_path(namespace), _passing(name, f"hf:acme/{name}"))

    try:
        await asyncio.gather(*map(create, range(count)))
    finally:
        await api.close()


def _catalog_bytes(stage: Stage) -> int:
    data = stage.cluster.api.get("/api/v1/namespaces/many/configmaps/model-catalog")["data"]
    return sum(len(key) + len(value) for key, value in data.items())
