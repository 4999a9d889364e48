"""The operator is replaced while pods are in the middle of their downloads."""

import time
from dataclasses import dataclass

from benchmarks.operator.figures import Figure
from benchmarks.operator.stage import Stage, Watching
from benchmarks.workers.stage import Noted, create_claims, create_namespaces, light_pods, on_claim, operating
from model_provisioner.kube.resource import collection_path
from tests.support.ggufs import tiny_gguf
from tests.support.programs import eventually, free_port

NAMESPACES = 20
MOST_SECONDS = 10
_SIZE = 4 * 1024 * 1024
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Restart:
    """Seconds from the SIGTERM of the operator to its end, and to the last of `pods` pods that is connected again.

    `jobs` were created after the SIGTERM. `again` bytes were sent by the hub that it had sent before.
    """

    pods: int
    stopped: float
    connected: float
    jobs: int
    again: int

    def figures(self) -> list[Figure]:
        title = f"operator restarted, {self.pods} pods at half: SIGTERM → all connected to the next one"
        return [
            Figure(title, self.connected, "s", MOST_SECONDS),
            Figure("… of it until the first one has ended", self.stopped, "s"),
            Figure("… Jobs started anew", self.jobs, "", 0),
            Figure("… bytes fetched again, all pods together", self.again / 1024**2, "MiB"),
        ]


def restart(stage: Stage, count: int) -> Restart:
    """`count` pods, each of which has half of its model when the operator is stopped."""
    namespaces, port = create_namespaces(stage, "restart", NAMESPACES), free_port()
    content = tiny_gguf(size=_SIZE)
    names = [f"restart-{number}" for number in range(count)]
    gates = []
    for name in names:
        stage.hub.repository(f"acme/{name}").add(f"{name}.Q4_K_M.gguf", content)
        gates.append(stage.hub.pause_at(len(content) // 2, f"{name}.Q4_K_M.gguf"))
    create_claims(stage, namespaces, names)
    sent_before = stage.hub.bytes_sent()
    with light_pods(stage) as pods, Watching(stage) as watching:
        with operating(stage, namespaces, port):
            for number, name in enumerate(names):
                path = collection_path(namespaces[number % NAMESPACES])
                stage.cluster.api.create(path, on_claim(name, f"hf:acme/{name}", name))
            for gate in gates:
                gate.wait_reached(_PATIENCE_SECONDS)
            stopping = time.time()
        stopped = time.time()
        with operating(stage, namespaces, port):
            back = eventually(lambda: _all_back(pods.noted("connected", stopping), count), "all are back", 60)
            for gate in gates:
                gate.release()
            watching.until_ready(names, _PATIENCE_SECONDS)
            jobs = len(pods.noted("job", stopping))
    again = stage.hub.bytes_sent() - sent_before - count * len(content)
    return Restart(count, stopped - stopping, back - stopping, jobs, again)


def _all_back(noted: list[Noted], count: int) -> float | None:
    """When the last of `count` pods was connected; None if not all are."""
    first: dict[str, float] = {}
    for one in noted:
        first.setdefault(one.job, one.time)
    return max(first.values()) if len(first) >= count else None
