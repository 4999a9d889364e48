"""`python -m benchmarks.gates`: how soon the gate of a pod opens, and what a thousand gated pods cost the operator.

One pod after the other waits for a small model; pods name a model that does not exist; a thousand pods, as large as
those of a Deployment, wait for one model, which then gets Ready. A real kube-apiserver and etcd, a hub on loopback,
volumes in memory, the operator as a process of its own. Memory is resident (VmRSS) and its high-water mark (VmHWM).
Exits with 1 if a figure is missed.
"""

import argparse
import contextlib
import json
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from http.client import HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from benchmarks.operator.figures import Figure, table
from benchmarks.operator.stage import Operator, Stage, Watching, manifest, staged
from model_provisioner.domain.annotations import GATE
from model_provisioner.kube.resource import collection_path, object_path
from tests.support.gated_pods import GatedPods
from tests.support.ggufs import tiny_gguf
from tests.support.programs import Program, eventually, free_port

_NAMESPACE = "gates"


class WatchingPods:
    """When the gate of each pod was first seen open: by name, in seconds since the epoch. Use it as a context."""

    def __init__(self, stage: Stage) -> None:
        self.opened: dict[str, float] = {}
        self._path = f"/api/v1/namespaces/{_NAMESPACE}/pods"
        address = urlsplit(stage.cluster.api.url)
        self._connection = HTTPSConnection(address.hostname or "", address.port, context=stage.cluster.api.tls)
        self._version = stage.cluster.api.get(f"{self._path}?limit=1")["metadata"]["resourceVersion"]
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "WatchingPods":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection.sock:
            self._connection.sock.shutdown(2)
        self._thread.join(5)
        self._connection.close()

    def until_open(self, names: Collection[str], seconds: float = 60) -> None:
        eventually(lambda: self.opened.keys() >= set(names), "all gates are open", seconds)

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, HTTPException):
            self._connection.request("GET", f"{self._path}?watch=true&resourceVersion={self._version}")
            for line in self._connection.getresponse():
                now, pod = time.time(), json.loads(line)["object"]
                gates = [gate["name"] for gate in pod["spec"].get("schedulingGates") or ()]
                if GATE not in gates:
                    self.opened.setdefault(pod["metadata"]["name"], now)


@contextlib.contextmanager
def operating(stage: Stage) -> Iterator[Operator]:
    """The operator with `--gates`."""
    flags = stage.flags([_NAMESPACE], f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    program = Program(["operator", *flags, "--gates"], stage.directory / "operator.log", {"POD_NAME": "bench"})
    try:
        yield Operator(program, Counter())
    finally:
        program.stop(60)


def soon(stage: Stage, pods: GatedPods, rounds: int) -> list[Figure]:
    """Ready → open, of one model and one pod after the other."""
    seconds = []
    for number in range(rounds):
        name = f"soon-{number}"
        _publish(stage, name)
        pods.waiting_for(name, name)
        with Watching(stage) as models, WatchingPods(stage) as opening:
            _create(stage, name)
            models.until_ready([name], 60)
            opening.until_open([name])
        seconds.append(opening.opened[name] - models.ready[name])
        time.sleep(1.1)  # the catalog is written at once for the first model of a second
    return [
        Figure("Ready → gate open, median", statistics.median(seconds), "s", 1),
        Figure("… the longest", max(seconds), "s"),
    ]


def broken(pods: GatedPods, rounds: int) -> list[Figure]:
    """A pod that names nothing → its Event."""
    seconds = []
    for number in range(rounds):
        pods.waiting_for(f"broken-{number}", "no-such-model")
        begun = time.monotonic()
        while not pods.told(f"broken-{number}", "ModelNotFound"):
            time.sleep(0.02)
        seconds.append(time.monotonic() - begun)
        pods.delete(f"broken-{number}")
    return [
        Figure("a wrong name → its Event, median", statistics.median(seconds), "s"),
        Figure("… the longest", max(seconds), "s", 5),
    ]


def crowd(stage: Stage, pods: GatedPods, count: int) -> list[Figure]:
    """Many pods that wait for one model: while they come, after a restart of the operator, and when it is Ready."""
    _publish(stage, "shared")
    stage.cluster.api.create(collection_path(_NAMESPACE), _suspended("shared"))
    names = [f"crowd-{number}" for number in range(count)]
    with operating(stage) as operator:
        before = _settled(operator)
        for name in names:
            pods.waiting_for(name, "shared", **_like_a_deployment())
        eventually(lambda: pods.told(names[-1], "Suspended"), "the last one is told", 120)
        came, peak = _settled(operator) - before, operator.memory("VmHWM") - before
    with operating(stage) as operator, WatchingPods(stage) as opening, Watching(stage) as models:
        eventually(lambda: pods.events(names[-1])["Suspended"]["count"] == 2, "the new one tells it again", 120)
        again = operator.memory("VmHWM") - before
        writes = stage.writes()
        stage.cluster.api.merge(object_path(_NAMESPACE, "shared"), {"spec": {"suspend": False}})
        models.until_ready(["shared"], 60)
        opening.until_open(names, 120)
        patches = (stage.writes() - writes)["pods PATCH"]
        opened = sorted(opening.opened[name] - models.ready["shared"] for name in names)
        cpu = operator.cpu()
    return [
        Figure(f"{count} gated pods that wait: memory of the operator, more", came, "MiB", 50),
        Figure("… its high-water mark, more than before", peak, "MiB", 50),
        Figure("… the high-water mark of one that finds them at its start", again, "MiB", 50),
        Figure("… one model Ready → half of the gates open", statistics.median(opened), "s"),
        Figure("… → the last gate open", opened[-1], "s"),
        Figure("… patches of pods, per pod", patches / count, "", 1),
        Figure("… CPU of the operator, its start and Events included", cpu, "s"),
    ]


def _settled(operator: Operator) -> float:
    """Resident memory, when the operator has rested for a moment."""
    time.sleep(5)
    return operator.memory("VmRSS")


def _publish(stage: Stage, name: str) -> None:
    stage.hub.repository(f"acme/{name}").add(f"{name}.Q4_K_M.gguf", tiny_gguf())


def _create(stage: Stage, name: str) -> None:
    stage.cluster.api.create(collection_path(_NAMESPACE), manifest(name, f"hf:acme/{name}"))


def _suspended(name: str) -> dict[str, object]:
    document = manifest(name, f"hf:acme/{name}")
    return {**document, "spec": {**document["spec"], "suspend": True}}


def _like_a_deployment() -> dict[str, object]:
    """A container with what a server of models usually has."""
    probe = {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 10}
    container = {
        "name": "server",
        "image": "ghcr.io/ggml-org/llama.cpp:server-cuda",
        "args": ["--host", "0.0.0.0", "--model", "$(MODEL_PATH)", "--n-gpu-layers", "99"],
        "env": [
            {"name": "MODEL_PATH", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['a']"}}},
            *({"name": f"SETTING_{number}", "value": f"value of {number}"} for number in range(20)),
        ],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": probe,
        "livenessProbe": probe,
        "resources": {"limits": {"cpu": "4", "memory": "16Gi", "nvidia.com/gpu": "1"}},
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
    }
    return {"containers": [container], "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gates", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="single models and pods (default %(default)s)")
    parser.add_argument("--pods", type=int, default=1000, help="that wait at one time (default %(default)s)")
    given = parser.parse_args()
    with staged() as stage:
        stage.add_namespace(_NAMESPACE)
        pods = GatedPods(stage.cluster.api, _NAMESPACE)
        with operating(stage):
            figures = [*soon(stage, pods, given.rounds), *broken(pods, min(given.rounds, 8))]
        figures += crowd(stage, pods, given.pods)
    print(table(figures))
    return int(any(figure.missed for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
