"""Many objects on claims of their own, over twenty namespaces: what each costs the API server and the operator."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.operator.figures import Figure
from benchmarks.operator.stage import Stage, Watching
from benchmarks.workers.light_pods import JOBS
from benchmarks.workers.stage import (
    Usage,
    create_claims,
    create_namespaces,
    light_pods,
    on_claim,
    operating,
    until_all_gone,
    wait_until_quiet,
    writes,
)
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.resource import collection_path
from tests.support.ggufs import tiny_gguf
from tests.support.programs import free_port

NAMESPACES = 20
MOST_WRITES = 12
MOST_MEMORY = 300
_MIB = 1024 * 1024
_AT_ONCE = 8
_PATIENCE_SECONDS = 180.0
_IDLE_SECONDS = 120.0
"""A pod ends after a minute without work."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What `count` downloads have cost. Memory is in MiB, `ready` and `cpu` are in seconds."""

    count: int
    ready: float
    writes: Counter[str]
    operator_memory: float
    memory: float
    cpu: float
    connections: int
    jobs: int

    def figures(self) -> list[Figure]:
        return [
            Figure(f"{self.count} objects, each on a claim of its own: until all are Ready", self.ready, "s"),
            Figure("… writes to the API server per download", self.writes.total() / self.count, "", MOST_WRITES),
            Figure("… Jobs", self.jobs, "", self.count),
            Figure("… most connections of pods at one time", self.connections),
            Figure("… most memory of the operator", self.operator_memory, "MiB"),
            Figure("… most memory of the operator and its workers together", self.memory, "MiB", MOST_MEMORY),
            Figure("… CPU of the operator", self.cpu, "s"),
            Figure("… CPU of the operator per download", self.cpu / self.count * 1000, "ms"),
        ]


def scale(stage: Stage, count: int) -> Scale:
    """`count` objects of 1 MiB, created as fast as the API server accepts them; ends when all pods have ended."""
    namespaces, port = create_namespaces(stage, f"scale-{count}", NAMESPACES), free_port()
    _fill(stage, count)
    create_claims(stage, namespaces, [_claim(number) for number in range(count)])
    create_claims(stage, namespaces, ["first"])
    with light_pods(stage) as pods, operating(stage, namespaces, port) as operator:
        _warm_up(stage, namespaces[0])
        before, cpu, begun = writes(stage), operator.cpu(), time.time()
        with Usage(operator, port) as usage, Watching(stage) as watching:
            asyncio.run(_create(stage, namespaces, count))
            watching.until_ready([_name(count, number) for number in range(count)], _PATIENCE_SECONDS)
            wait_until_quiet()
        used = operator.cpu() - cpu
        jobs = len(pods.noted("job", begun))
        until_all_gone(stage, JOBS, _IDLE_SECONDS)
        wait_until_quiet()
        return Scale(
            count,
            max(watching.ready.values()) - begun,
            writes(stage) - before,
            usage.operator_memory,
            usage.memory,
            used,
            usage.connections,
            jobs,
        )


def _name(count: int, number: int) -> str:
    return f"scale-{count}-{number}"


def _claim(number: int) -> str:
    return f"claim-{number}"


def _fill(stage: Stage, count: int) -> None:
    content = tiny_gguf(size=_MIB)
    for number in range(count):
        stage.hub.repository(f"acme/{_name(count, number)}").add("model.Q4_K_M.gguf", content)
    stage.hub.repository("acme/first").add("model.Q4_K_M.gguf", content)


def _warm_up(stage: Stage, namespace: str) -> None:
    """Returns when the operator has downloaded one model, and its Job has been counted."""
    with Watching(stage) as watching:
        stage.cluster.api.create(collection_path(namespace), on_claim("first", "hf:acme/first", "first"))
        watching.until_ready(["first"], 60)
    wait_until_quiet()


async def _create(stage: Stage, namespaces: Sequence[str], count: int) -> None:
    api = await KubeApi.connect(stage.cluster.kubeconfig)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def create(number: int) -> None:
        name = _name(count, number)
        async with gate:
            path = collection_path(namespaces[number % len(namespaces)])
            await api.create(path, on_claim(name, f"hf:acme/{name}", _claim(number)))

    try:
        await asyncio.gather(*map(create, range(count)))
    finally:
        await api.close()
