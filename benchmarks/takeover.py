"""How long the second of two replicas takes to act, after the first was killed or told to end.

`python -m benchmarks.takeover`: on a real kube-apiserver and etcd, with a hub on loopback that sends so slowly that one
download outlives all rounds. With `--objects` it has so many Ready models beside it. In each round the acting operator
gets a signal, at a random moment between two renewals of its Lease, and nothing starts it again. Prints the time until
the other one has the Lease and until it asks the hub for bytes of the download, and what one that waits costs, and
exits with 1 if a median is above its bound.
"""

import argparse
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.operator.idle import make_ready
from benchmarks.operator.stage import CLAIM, Stage
from benchmarks.processes import cpu_seconds, proportional_mebibytes
from deploy.local import binaries
from deploy.local.cluster import Cluster
from model_provisioner.domain.liveness import RENEWAL_SECONDS
from tests.support.ggufs import write_gguf
from tests.support.programs import Program, eventually
from tests.support.stand import Stand, stand

BOUNDS = {"KILL": 30.0, "TERM": 2.0}
"""Seconds until the other one has the Lease."""

_NAMESPACE = "takeover"
_ROOT = Path(__file__).parent.parent
_SIZE = 512 * 1024**2
_RATE = 512 * 1024  # bytes per second: the download lasts for 17 minutes
_COST_SECONDS = 15.0
_START_SECONDS = 180.0  # the most that an operator takes to act
_QUIET_SECONDS = 3.0  # after a takeover, until the next one


@dataclass(frozen=True, slots=True)
class Takeover:
    """Seconds after the signal."""

    lease: float
    bytes: float


class Pair:
    """Two operators of one stand, of which `first` acts. `stores` are the flags of further claims."""

    def __init__(self, bench: Stand, stores: Sequence[str]) -> None:
        self._bench = bench
        self._stores = stores
        self._number = 0
        self.first = self._start()
        bench.apply("large", modelRef="hf:acme/large")
        bench.until("large", "Downloading", _START_SECONDS)
        self.second = self._start()

    def take_over(self, number: signal.Signals) -> Takeover:
        """Sends the signal to the one that acts; the other becomes the first, and there is a new second one."""
        eventually(lambda: "waiting:" in self.second.output(), "the second one waits", _START_SECONDS)
        time.sleep(_QUIET_SECONDS + random.random() * RENEWAL_SECONDS)
        holder, begun = self._holder(), time.time()
        self.first.process.send_signal(number)
        eventually(lambda: self._holder() not in {holder, ""}, "the other one has the Lease")
        lease = time.time() - begun
        came = eventually(lambda: self._asked_after(begun + lease), "it asks for bytes", _START_SECONDS) - begun
        self.first.process.wait(60)
        self.first, self.second = self.second, self._start()
        return Takeover(lease, came)

    def _start(self) -> Program:
        self._number += 1
        return self._bench.start_operator(
            "--replicas=2", *self._stores, environment={"POD_NAME": f"operator-{self._number}"}
        )

    def _holder(self) -> str:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{_NAMESPACE}/leases/model-provisioner"
        return str(self._bench.cluster.api.get(path)["spec"]["holderIdentity"])

    def _asked_after(self, moment: float) -> float | None:
        log = self._bench.hub.log
        return min((one.time for one in log if one.origin == "content" and one.time > moment), default=None)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.takeover", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of each signal (default %(default)s)")
    parser.add_argument("--signal", action="append", choices=BOUNDS, help="only this one")
    parser.add_argument("--objects", type=int, default=0, help="Ready models that are served (default %(default)s)")
    given = parser.parse_args()
    with _pair(given.objects) as pair:
        _measure_waiting(pair.second)
        medians = {name: _measure(pair, name, given.rounds) for name in given.signal or BOUNDS}
    return int(any(median > BOUNDS[name] for name, median in medians.items()))


def _measure(pair: Pair, name: str, rounds: int) -> float:
    """Prints the figures of one signal; returns the median of the seconds until the Lease has changed hands."""
    found = [pair.take_over(signal.Signals[f"SIG{name}"]) for _ in range(rounds)]
    leases, came = [one.lease for one in found], [one.bytes for one in found]
    print(
        f"after SIG{name}, {rounds} rounds, seconds (median, most): "
        f"Lease taken {statistics.median(leases):.2f}, {max(leases):.2f} (bound {BOUNDS[name]:g}); "
        f"bytes go on {statistics.median(came):.2f}, {max(came):.2f}",
        flush=True,
    )
    return statistics.median(leases)


def _measure_waiting(operator: Program) -> None:
    """Prints what an operator costs that waits."""
    eventually(lambda: "waiting:" in operator.output(), "it waits")
    before = cpu_seconds(operator.process.pid)
    time.sleep(_COST_SECONDS)
    used = 100 * (cpu_seconds(operator.process.pid) - before) / _COST_SECONDS
    print(
        f"one that waits: {proportional_mebibytes(operator.process.pid):.0f} MiB (PSS), {used:.1f} % of a core",
        flush=True,
    )


@contextmanager
def _pair(objects: int) -> Iterator[Pair]:
    with tempfile.TemporaryDirectory() as directory, Cluster(binaries.find_or_build()) as cluster:
        cluster.apply(_ROOT / "crds")
        cluster.create_namespace(_NAMESPACE)
        with stand(cluster, _NAMESPACE, Path(directory)) as bench:
            model = write_gguf(Path(directory) / "large.gguf", size=_SIZE)
            bench.hub.repository("acme/large").add("large.Q4_K_M.gguf", model)
            bench.hub.bytes_per_second(_RATE)
            yield Pair(bench, _idle(bench, Path(directory) / "idle", objects))


def _idle(bench: Stand, directory: Path, objects: int) -> list[str]:
    """Makes the objects that have nothing to do. Returns the flags for the stores that they are on."""
    directory.mkdir()
    stage = Stage(bench.cluster, bench.hub, directory)
    begun = time.monotonic()
    made = make_ready(stage, objects)
    if objects:
        print(f"{objects} Ready models made in {time.monotonic() - begun:.0f} s", flush=True)
    return [f"--store={namespace}/{CLAIM}={stage.volumes[namespace]}" for namespace in made]


if __name__ == "__main__":
    sys.exit(main())
