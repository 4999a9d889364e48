"""The environment of the benchmark of worker pods: the operator without a volume, light pods, and what both use.

Stands on that of `benchmarks.operator`: a real API server and etcd, and a hub on loopback.
"""

import contextlib
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.operator.stage import Document, Operator, Stage, manifest
from benchmarks.operator.visits import visited
from benchmarks.processes import family, proportional_mebibytes
from benchmarks.workers.light_pods import EVENTS
from tests.support.programs import Program, eventually, free_port

RELEASE = "release"
_EVERY_SECONDS = 0.25
_MOST = 250
_ESTABLISHED = "01"  # proc_pid_net_tcp(5), st
_OURS = ("modeldownloads", "events", "configmaps", "leases", "jobs POST", "jobs DELETE", "secrets POST")


@dataclass(frozen=True, slots=True)
class Noted:
    """What the light pods have noted: `what` is `job`, `connected` or `ended`; `time` is in seconds since the epoch."""

    time: float
    what: str
    job: str


class Pods:
    """The process with the light pods."""

    def __init__(self, program: Program, directory: Path) -> None:
        self._program = program
        self._directory = directory

    def noted(self, what: str, since: float = 0) -> list[Noted]:
        """What it has noted, the oldest first."""
        assert self._program.process.poll() is None, self._program.output()
        file = self._directory / EVENTS
        lines = file.read_text().splitlines() if file.exists() else []
        found = (Noted(**json.loads(line)) for line in lines)
        return [one for one in found if one.what == what and one.time >= since]


class Usage:
    """The most that the operator has used while the block runs; read it afterwards. Memory is PSS in MiB."""

    def __init__(self, operator: Operator, port: int) -> None:
        self.operator_memory = 0.0
        self.memory = 0.0
        """Of the operator and the workers below it."""
        self.connections = 0
        self._operator = operator
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Usage":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            pid = self._operator.program.process.pid
            own = _memory(pid)
            self.operator_memory = max(self.operator_memory, own)
            self.memory = max(self.memory, own + sum(map(_memory, family(pid)[1:])))
            self.connections = max(self.connections, connections(pid, self._port))


def connections(pid: int, port: int) -> int:
    """The established connections to the port `port` of this machine (proc_pid_net_tcp(5)); 0 if `pid` has ended."""
    try:
        lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return 0
    rows = (line.split() for line in lines)
    return sum(row[1].endswith(f":{port:04X}") and row[3] == _ESTABLISHED for row in rows)


def _memory(pid: int) -> float:
    try:
        return proportional_mebibytes(pid)
    except (OSError, StopIteration):  # it has ended
        return 0


@contextlib.contextmanager
def light_pods(stage: Stage) -> Iterator[Pods]:
    """Every Job of the cluster has a light pod while the block runs."""
    flags = [
        f"--kubeconfig={stage.cluster.kubeconfig}",
        f"--directory={stage.directory}",
        f"--ca-file={stage.hub.ca_file}",
        f"--allow-host={stage.hub.host_port}",
        f"--allow-host={stage.hub.content_origin.removeprefix('https://')}",
    ]
    program = Program(flags, stage.directory / "pods.log", module="benchmarks.workers.light_pods")
    try:
        yield Pods(program, stage.directory)
    finally:
        program.kill()


@contextlib.contextmanager
def operating(stage: Stage, namespaces: Collection[str], port: int) -> Iterator[Operator]:
    """The operator of `namespaces`, which mounts no volume and listens for worker pods at `port`."""
    health, metrics = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    flags = [
        *stage.flags([], health, metrics),
        "--store=none",
        f"--lease-namespace={RELEASE}",
        *(f"--watch-namespace={namespace}" for namespace in namespaces),
        f"--worker-listen=127.0.0.1:{port}",
        f"--worker-connect=127.0.0.1:{port}",
        "--worker-image=example/model-provisioner:1",
        f"--worker-max={_MOST}",
        f"--worker-max-per-namespace={_MOST}",
    ]
    program = Program(["operator", *flags], stage.directory / "operator.log")
    try:
        with visited(health, metrics) as answered:
            yield Operator(program, answered)
    finally:
        program.stop(60)


def writes(stage: Stage) -> Counter[str]:
    """The writes of the operator so far. Those of the Job controller and the kubelet are of other kinds."""
    return Counter({kind: number for kind, number in stage.writes().items() if kind.startswith(_OURS)})


def create_namespaces(stage: Stage, prefix: str, count: int) -> list[str]:
    names = [f"{prefix}-{number}" for number in range(count)]
    for name in names:
        stage.cluster.create_namespace(name)
    return names


def create_claims(stage: Stage, namespaces: Sequence[str], names: Iterable[str]) -> None:
    """Claims with a volume, the first in the first namespace, and so on. Any node can mount them."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    for name, namespace in zip(names, itertools.cycle(namespaces), strict=False):
        path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
        stage.cluster.api.create(path, {"metadata": {"name": name}, "spec": {**spec, "volumeName": f"pv-{name}"}})
        stage.cluster.api.merge(f"{path}/{name}/status", {"status": {"phase": "Bound"}})


def on_claim(name: str, ref: str, claim: str) -> Document:
    """A ModelDownload for a claim."""
    body = manifest(name, ref)
    return {**body, "spec": {**body["spec"], "destination": {"claimName": claim}}}


def until_all_gone(stage: Stage, path: str, seconds: float) -> None:
    """Returns when the list at `path` is empty. Raises AssertionError after `seconds`."""
    eventually(lambda: not stage.cluster.api.get(f"{path}?limit=1")["items"] or None, f"no {path}", seconds)


def wait_until_quiet() -> None:
    """Events, and the last batch of the catalog, are written after Ready."""
    time.sleep(3)
