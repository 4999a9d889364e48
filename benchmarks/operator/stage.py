"""The environment of the operator's benchmark: a real API server and etcd, a hub on loopback, volumes in memory, and
the operator as a process of its own.
"""

import contextlib
import json
import os
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.operator.visits import visited
from deploy.local import binaries
from deploy.local.cluster import Cluster
from model_provisioner.kube.resource import API_VERSION, PLURAL
from tests.support.hub import Hub
from tests.support.programs import Program, free_port

CLAIM = "models"
_ROOT = Path(__file__).parents[2]
_OBJECTS = f"/apis/{API_VERSION}/{PLURAL}"
_MEMORY = Path("/dev/shm")
_TICKS = os.sysconf("SC_CLK_TCK")
_REQUESTS = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
_DURATION = re.compile(r"^apiserver_request_duration_seconds_(sum|count)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_OWN = slice(11, 13)  # utime and stime: proc_pid_stat(5)
_WITH_ENDED = slice(11, 15)  # and those of the child processes that have ended
_WRITES = frozenset({"POST", "PUT", "PATCH", "APPLY", "DELETE"})

Document = dict[str, Any]


class Stage:
    """`volumes` has the directory of each namespace; logs are in `directory`."""

    def __init__(self, cluster: Cluster, hub: Hub, directory: Path) -> None:
        self.cluster = cluster
        self.hub = hub
        self.directory = directory
        self.volumes: dict[str, Path] = {}

    def add_namespace(self, name: str) -> Path:
        """A namespace with a volume of its own."""
        self.cluster.create_namespace(name)
        self.volumes[name] = self.directory / name
        self.volumes[name].mkdir()
        return self.volumes[name]

    @contextlib.contextmanager
    def operator(self, *namespaces: str) -> Iterator["Operator"]:
        """The operator of `namespaces`, scraped and probed as in a cluster."""
        health, metrics = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        program = Program(["operator", *self.flags(namespaces, health, metrics)], self.directory / "operator.log")
        try:
            with visited(health, metrics) as answered:
                yield Operator(program, answered)
        finally:
            program.stop(60)

    def flags(self, namespaces: Collection[str], health: str, metrics: str) -> list[str]:
        """The flags of the operator, with every listener that the chart enables."""
        return [
            *(f"--store={namespace}/{CLAIM}={self.volumes[namespace]}" for namespace in namespaces),
            f"--kubeconfig={self.cluster.kubeconfig}",
            f"--endpoint={self.hub.endpoint}",
            f"--allow-host={self.hub.host_port}",
            f"--allow-host={self.hub.content_origin.removeprefix('https://')}",
            f"--ca-file={self.hub.ca_file}",
            f"--health-listen={health}",
            f"--metrics-listen={metrics}",
        ]

    def writes(self) -> Counter[str]:
        """Write requests so far, by resource and verb, without those that create ModelDownloads.

        The API server's own Lease is written with PUT, the operator's with PATCH.
        """
        found: Counter[str] = Counter()
        for labels, value in _REQUESTS.findall(self._figures()):
            of = dict(_LABEL.findall(labels))
            what = "/".join(part for part in (of["resource"], of["subresource"]) if part)
            if of["verb"] in _WRITES and (of["verb"], what) not in {("POST", PLURAL), ("PUT", "leases")}:
                found[f"{what} {of['verb']}"] += int(float(value))
        return found

    def applies(self) -> "Applies":
        """The applies of ConfigMaps so far: only catalogs are applied."""
        found = {"sum": 0.0, "count": 0.0}
        for kind, labels, value in _DURATION.findall(self._figures()):
            of = dict(_LABEL.findall(labels))
            if (of["resource"], of["verb"]) == ("configmaps", "APPLY"):
                found[kind] += float(value)
        return Applies(found["count"], found["sum"])

    def _figures(self) -> str:
        """The metrics of the API server."""
        _, text = self.cluster.api.exchange("GET", "/metrics", None, content_type="", accept="*/*")
        return str(text)


@dataclass(frozen=True, slots=True)
class Applies:
    """A number of applies, and the seconds that the API server took for all of them."""

    number: float
    seconds: float

    def mean_since(self, before: "Applies") -> float:
        return (self.seconds - before.seconds) / max(self.number - before.number, 1)


class Operator:
    """The operator's process. `answered` counts its successful responses to scrapes and probes, by path."""

    def __init__(self, program: Program, answered: Counter[str]) -> None:
        self.program = program
        self.answered = answered

    @property
    def _pids(self) -> list[int]:
        return [self.program.process.pid, *self.program.children()]

    def cpu(self) -> float:
        """Seconds of processor time of the operator's own process so far."""
        return _cpu(self._pids[0])

    def cpu_with_workers(self) -> float:
        return sum(_cpu(pid, _WITH_ENDED) for pid in self._pids)

    def memory(self, kind: str = "VmHWM") -> float:
        """MiB of the operator's own process: `VmRSS` now, `VmHWM` the peak (proc(5))."""
        return _memory(self._pids[0], kind)

    def memory_with_workers(self, kind: str = "VmHWM") -> float:
        """MiB of all processes. Shared pages count for each of them."""
        return sum(_memory(pid, kind) for pid in self._pids)


class Watching:
    """When each object was first seen with a status, and as Ready: by name, in seconds since the epoch."""

    def __init__(self, stage: Stage) -> None:
        self.observed: dict[str, float] = {}
        self.ready: dict[str, float] = {}
        self._changed = threading.Condition()
        self._api = stage.cluster.api
        self._version = self._api.get(f"{_OBJECTS}?limit=1")["metadata"]["resourceVersion"]
        self._closing = False
        self._connection = self._connect()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Watching":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        if self._connection.sock:
            self._connection.sock.shutdown(2)
        self._thread.join(5)
        self._connection.close()

    def until_ready(self, names: Collection[str], seconds: float) -> None:
        """Returns when all `names` are Ready. Raises TimeoutError after `seconds`."""
        wanted = set(names)
        with self._changed:
            if not self._changed.wait_for(lambda: wanted <= self.ready.keys(), seconds):
                there = len(wanted & self.ready.keys())
                raise TimeoutError(f"{there} of {len(wanted)} are Ready after {seconds:.0f} s")

    def _connect(self) -> HTTPSConnection:
        address = urlsplit(self._api.url)
        return HTTPSConnection(address.hostname or "", address.port, context=self._api.tls)

    def _read(self) -> None:
        """Watches until closed. The API server ends the watch of a client that is too slow for a thousand objects."""
        while not self._closing:
            try:
                self._connection.request("GET", f"{_OBJECTS}?watch=true&resourceVersion={self._version}")
                for line in self._connection.getresponse():
                    self._hear(json.loads(line)["object"])
            except (OSError, ValueError, HTTPException):
                self._connection.close()
                self._connection = self._connect()

    def _hear(self, document: Document) -> None:
        self._version = document["metadata"]["resourceVersion"]
        self._note(document, time.time())

    def _note(self, document: Document, now: float) -> None:
        conditions = (document.get("status") or {}).get("conditions")
        if not conditions:
            return
        name = document["metadata"]["name"]
        self.observed.setdefault(name, now)
        if any(one["type"] == "Ready" and one["status"] == "True" for one in conditions):
            with self._changed:
                self.ready.setdefault(name, now)
                self._changed.notify_all()


@contextlib.contextmanager
def staged() -> Iterator[Stage]:
    """A control plane with the CRD of ModelDownloads, and a hub without models."""
    memory = _MEMORY if _MEMORY.is_dir() else None
    with (
        tempfile.TemporaryDirectory(dir=memory, prefix="bench-") as directory,
        Cluster(binaries.find_or_build()) as cluster,
        Hub() as hub,
    ):
        cluster.apply(_ROOT / "crds")
        yield Stage(cluster, hub, Path(directory))


def manifest(name: str, ref: str, **metadata: object) -> Document:
    """A ModelDownload as a client creates it that sets no annotations."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelDownload",
        "metadata": {"name": name, **metadata},
        "spec": {"modelRef": ref},
    }


def _cpu(pid: int, fields: slice = _OWN) -> float:
    """Processor time in seconds; 0 of a process that has ended, which its parent counts then."""
    try:
        found = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0
    return sum(map(int, found[fields])) / _TICKS


def _memory(pid: int, kind: str) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return int(re.findall(rf"{kind}:\s+(\d+)", status)[0]) / 1024
