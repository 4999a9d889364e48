"""Operators with clocks that are wrong by an hour, next to others with right clocks: the Lease and the status."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tests.faults.test_clock import wrong_by
from tests.support import tools
from tests.support.ggufs import tiny_gguf, write_gguf
from tests.support.programs import Program, eventually
from tests.support.stand import Stand

MIB = 1024**2
SIZE = 24 * MIB
RENEWALS = 2  # a standby looks at the Lease at least twice between two of them


@tools.needs("libfaketime")
def test_a_clock_that_is_wrong_by_an_hour_costs_no_lease_and_no_download(bench: Stand, tmp_path: Path) -> None:
    """A standby that compared its clock with `renewTime` would take the Lease when it first reads it.

    That a standby takes a Lease that does not change for its duration is tested in test_lease.
    """
    bench.hub.repository("acme/slow").add("s.Q4_K_M.gguf", write_gguf(tmp_path / "s.gguf", size=SIZE))
    with bench.neighbour(f"{bench.namespace}-b") as other:
        standbys = [begin(bench, "-1h"), begin(other, "+1h")]
        for site in (bench, other):
            eventually(partial(is_renewed, site, set[object]()), f"the Lease is renewed {RENEWALS} times")
        assert [lease(site)["holderIdentity"] for site in (bench, other)] == ["wrong", "wrong"]
        for site, standby in zip((bench, other), standbys, strict=True):
            check(site, standby)


def is_renewed(site: Stand, seen: set[object]) -> bool:
    """Whether `seen`, to which the present time of renewal is added, shows enough of them."""
    seen.add(lease(site)["renewTime"])
    return len(seen) > RENEWALS


def begin(site: Stand, offset: str) -> Program:
    """Starts an operator with a wrong clock and a standby with the right one. Returns the standby."""
    site.start_operator(environment={"POD_NAME": "wrong", **wrong_by(offset)})
    site.apply("tiny", modelRef="hf:acme/tiny")
    site.until("tiny", "Available")
    told = datetime.fromisoformat(str(lease(site)["renewTime"]))
    assert 3500 < abs((told - datetime.now(UTC)).total_seconds()) < 3700
    standby = site.start_operator(environment={"POD_NAME": "right"})
    eventually(lambda: "wrong holds the Lease" in standby.output(), "the second one waits")
    site.apply("slow", modelRef="hf:acme/slow", maxBytesPerSecond="512Ki")
    site.until("slow", "Downloading")
    return standby


def check(site: Stand, standby: Program) -> None:
    site.patch("slow", {"maxBytesPerSecond": None})
    site.until("slow", "Available")
    progress = [one["status"].get("progress", {}) for one in site.history.of("slow")]
    times = [one["etaSeconds"] for one in progress if "etaSeconds" in one]
    assert times
    assert 0 <= min(times) <= max(times) < 3000, "an hour more or less would be seen"
    assert lease(site)["leaseTransitions"] == 1
    assert standby.process.poll() is None
    assert (site.volume / "hf/acme/tiny/tiny.Q4_K_M.gguf").read_bytes() == tiny_gguf()


def lease(site: Stand) -> dict[str, object]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{site.namespace}/leases/model-provisioner"
    spec: dict[str, object] = site.cluster.api.get(path)["spec"]
    return spec
