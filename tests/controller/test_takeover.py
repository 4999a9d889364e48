"""Two replicas of the operator as real processes: one acts, the other waits, takes over, and both never write.

They share a volume, as with ReadWriteMany. Each reaches the API server through a proxy of its own, which keeps every
request.
"""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.domain.liveness import SHARED
from tests.support.api_proxy import ApiProxy, Asked
from tests.support.ggufs import write_gguf
from tests.support.programs import Program, eventually, free_port
from tests.support.stand import Stand

LEASE_LOST = 3
LATER_SECONDS = 30  # for a loaded machine, beyond what a takeover takes
SIZE = 24 * 1024**2
RATE = 256 * 1024  # bytes per second of the hub: the download lasts until the test lets it go


@dataclass
class Replica:
    """One operator. `port` is that of its probes."""

    name: str
    proxy: ApiProxy
    program: Program
    port: int

    def is_ready(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    @property
    def writes(self) -> list[Asked]:
        """What it has written so far, its Lease apart."""
        return self.proxy.asked(lambda one: one.is_write and not one.is_for_the_lease)


class Pair:
    """Two replicas, of which the first acts and downloads."""

    def __init__(self, bench: Stand, cluster: Cluster, directory: Path, closing: ExitStack) -> None:
        self._bench, self._cluster, self._directory, self._closing = bench, cluster, directory, closing
        self.first = self._start("first")
        eventually(lambda: self.holder == "first", "the first one acts")
        self.second = self._start("second")
        for replica in (self.first, self.second):
            eventually(replica.is_ready, f"{replica.name} is ready")
        assert self.holder == "first"
        bench.hub.bytes_per_second(RATE)
        bench.apply("large", modelRef="hf:acme/large")
        eventually(lambda: bench.hub.bytes_sent() > RATE, "bytes flow")
        bench.until("large", "Downloading")

    def _start(self, name: str) -> Replica:
        proxy, port = self._closing.enter_context(ApiProxy(self._cluster)), free_port()
        config = proxy.kubeconfig(self._directory / name)
        flags = ["--replicas=2", f"--kubeconfig={config}", f"--health-listen=127.0.0.1:{port}"]
        program = self._bench.start_operator(*flags, environment={"POD_NAME": name})
        return Replica(name, proxy, program, port)

    @property
    def holder(self) -> str:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self._bench.namespace}/leases"
        leases = self._cluster.api.get(path)["items"]
        return str(leases[0]["spec"]["holderIdentity"]) if leases else ""

    def until_second_acts(self, seconds: float) -> None:
        """Returns when it has the Lease and has written."""
        eventually(lambda: self.holder == "second", "the second one has the Lease", seconds)
        eventually(lambda: self.second.writes, "the second one goes on", LATER_SECONDS)

    def finish(self) -> None:
        """The download ends as if nothing had happened: one Event tells so, and no byte is wrong."""
        self._bench.hub.bytes_per_second(None)
        self._bench.until("large", "Available")
        eventually(lambda: ("Normal", "Available") in self._bench.events("large"), "an Event, which follows the status")
        assert self._bench.events("large").count(("Normal", "Available")) == 1
        assert [one.get("status", {}).get("attempts", 0) for one in self._bench.history.of("large")][-1] <= 1


@pytest.fixture
def pair(bench: Stand, cluster: Cluster, tmp_path: Path) -> Iterator[Pair]:
    model = write_gguf(tmp_path / "large.gguf", size=SIZE)
    bench.hub.repository("acme/large").add("large.Q4_K_M.gguf", model)
    with ExitStack() as closing:
        try:
            yield Pair(bench, cluster, tmp_path, closing)
        finally:
            bench.stop()


def test_after_sigterm_the_other_goes_on_at_once(pair: Pair) -> None:
    assert pair.second.writes == []
    assert pair.first.program.stop() == 0
    written = len(pair.first.writes)
    pair.until_second_acts(LATER_SECONDS)
    pair.finish()
    assert len(pair.first.writes) == written


def test_one_that_was_stopped_writes_nothing_when_it_goes_on(pair: Pair) -> None:
    """For the other, a process that does not run is like one that was killed: only the Lease tells."""
    os.kill(pair.first.program.process.pid, signal.SIGSTOP)
    begun = time.monotonic()
    pair.until_second_acts(SHARED.duration + LATER_SECONDS)
    assert time.monotonic() - begun > SHARED.deadline, "not before the first one would have ended by itself"
    written = len(pair.first.writes)
    os.kill(pair.first.program.process.pid, signal.SIGCONT)
    assert pair.first.program.process.wait(LATER_SECONDS) == LEASE_LOST
    pair.finish()
    assert pair.first.writes[written:] == []
    assert "Lease is lost" in pair.first.program.output()


def test_one_that_is_cut_off_ends_before_the_other_begins(pair: Pair) -> None:
    pair.first.proxy.down()
    eventually(lambda: pair.holder == "second", "the second one has the Lease", SHARED.duration + LATER_SECONDS)
    assert pair.first.program.process.poll() == LEASE_LOST
    written = len(pair.first.writes)
    pair.first.proxy.up()
    pair.until_second_acts(LATER_SECONDS)
    pair.finish()
    assert len(pair.first.writes) == written


def test_one_that_waits_is_ready_as_long_as_it_hears_of_the_lease(pair: Pair) -> None:
    pair.second.proxy.down()
    eventually(lambda: not pair.second.is_ready(), "it would not take over")
    assert pair.second.program.process.poll() is None
    pair.second.proxy.up()
    eventually(pair.second.is_ready, "it would take over again")
    assert (pair.holder, pair.second.writes) == ("first", [])
