"""The operator ends at each of its writes to the API server, and the next one reaches the same result, soon.

A standard life of one object (it is applied, fetched, becomes Ready, is deleted) is a series of writes. The operator
is killed just before or just after one of them, or receives SIGTERM before it, and is restarted as by a kubelet.
"""

import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.local.cluster import Cluster
from tests.faults.campaign import LONG, randomness, say
from tests.support.api_proxy import ApiProxy, Asked, status_patches
from tests.support.ggufs import tiny_gguf
from tests.support.kubelet import Kubelet
from tests.support.programs import eventually
from tests.support.stand import Stand, stand

WAITS_SECONDS = 10.0  # the longest wait between two tries of an operator that has just started
SLOWER = 10  # a life with a start in it may take so many times an undisturbed life on the same machine
HALF = 40_000  # of the bytes of a tiny model
PATH = "hf/acme/tiny/tiny.Q4_K_M.gguf"
BEFORE, AFTER, GENTLY = WAYS = ("killed before", "killed after", "told to end before")
KINDS: dict[str, Callable[[Asked], bool]] = {
    "Lease": lambda asked: asked.is_for_the_lease and asked.method == "POST",
    "object": lambda asked: asked.method == "PATCH" and asked.path.endswith("/modeldownloads/tiny"),
    "status": status_patches,
    "Event": lambda asked: asked.is_write and "/events" in asked.path,
    "catalog": lambda asked: asked.method == "PATCH" and asked.path.endswith("/configmaps/model-catalog"),
}
AT_LEAST = {"Lease": 1, "object": 2, "status": 2, "Event": 2, "catalog": 2}
"""The writes of every life. There may be more: a state is written only if it lasts, and a deletion may cancel one."""

Point = tuple[str, int, str]
"""The kind of a write, the number of writes of this kind before it, and the way in which the operator ends there."""


def counts(asked: Asked) -> bool:
    """Whether the request is a write of a life. Renewals of the Lease are not: the clock decides how many there are."""
    return asked.is_write and not (asked.is_for_the_lease and asked.method == "PATCH")


def kind_of(asked: Asked) -> str:
    (kind,) = (kind for kind, is_one in KINDS.items() if is_one(asked))
    return kind


@contextmanager
def site(cluster: Cluster, directory: Path) -> Iterator[tuple[Stand, ApiProxy, Kubelet]]:
    directory.mkdir()
    namespace = f"killed-{uuid4().hex[:8]}"
    cluster.create_namespace(namespace)
    with stand(cluster, namespace, directory) as bench, ApiProxy(cluster) as proxy:
        bench.hub.repository("acme/tiny").add("tiny.Q4_K_M.gguf", tiny_gguf())
        config = proxy.kubeconfig(directory / "config")
        yield bench, proxy, Kubelet(bench, f"--kubeconfig={config}")


def live(bench: Stand, kubelet: Kubelet, within: float = 300) -> float:
    """Checks one life from apply to deletion. Returns the seconds of its slower half, which are at most `within`."""
    gate = bench.hub.pause_at(HALF)
    asked = time.monotonic()
    bench.apply("tiny", modelRef="hf:acme/tiny", reclaimPolicy="Delete")
    bench.until("tiny", "Downloading", within)  # the gate makes this state last, so that it is always reported
    gate.release()
    bench.until("tiny", "Available", within)
    to_be_ready = seconds_of_operation(kubelet, asked)
    assert (bench.volume / PATH).read_bytes() == tiny_gguf()
    told = ("Normal", "Available")  # only if the operator still runs: a restart may lose the Event
    eventually(lambda: kubelet.exits or told in bench.events("tiny"), "it is told")
    catalog = bench.catalog()
    assert (catalog["tiny.path"], json.loads(catalog["tiny.json"])["path"]) == (PATH, PATH)
    asked = time.monotonic()
    bench.delete("tiny")
    bench.until_gone("tiny", within)
    to_be_gone = seconds_of_operation(kubelet, asked)
    assert bench.left_behind() == []
    assert bench.catalog() == {}
    assert max(to_be_ready, to_be_gone) <= within
    return max(to_be_ready, to_be_gone)


def seconds_of_operation(kubelet: Kubelet, asked: float) -> float:
    """The seconds since `asked`, or since the present operator started if that is later."""
    return time.monotonic() - max(asked, kubelet.started)


@pytest.mark.timeout(1800 if LONG else 300)
def test_the_next_operator_brings_it_to_the_same_end(cluster: Cluster, tmp_path: Path) -> None:
    with site(cluster, tmp_path / "undisturbed") as (bench, proxy, kubelet), kubelet:
        undisturbed = live(bench, kubelet)
        assert kubelet.exits == []
        writes = Counter(kind_of(one) for one in proxy.log if counts(one))
    say(f"writes: {dict(writes)}")
    assert writes >= Counter(AT_LEAST)
    within = WAITS_SECONDS + SLOWER * undisturbed
    chosen, met = points(), Counter[str]()
    for kind, number, way in chosen:
        with site(cluster, tmp_path / f"{kind} {number} {way}") as (bench, proxy, kubelet):
            deaths, seconds = lives_through(bench, proxy, kubelet, (kind, number, way), within)
        assert deaths == 1, f"{kind} {number} never came"
        met[kind] += 1
        say(f"{way} {kind} {number}: {seconds:.1f} s")
    say(f"met: {dict(met)}")
    assert met.keys() == KINDS.keys()
    assert met.total() == len(chosen)


def points() -> list[Point]:
    """All points if LONG; else one of each kind and the very last write, with every way among them."""
    if LONG:
        return [(kind, number, way) for kind, count in AT_LEAST.items() for number in range(count) for way in WAYS]
    chance = randomness()
    ways = chance.sample(WAYS, len(WAYS)) * len(AT_LEAST)
    sample = [(kind, chance.randrange(count), way) for (kind, count), way in zip(AT_LEAST.items(), ways, strict=False)]
    return list(dict.fromkeys([*sample, ("object", AT_LEAST["object"] - 1, chance.choice(WAYS))]))


def lives_through(bench: Stand, proxy: ApiProxy, kubelet: Kubelet, point: Point, within: float) -> tuple[int, float]:
    """Returns how often the operator ended, 1 if the write came, and the seconds of the slower half of the life."""
    kind, number, way = point

    def die() -> bool:
        operator = kubelet.operator
        if way == GENTLY:
            operator.process.send_signal(signal.SIGTERM)
            return True
        operator.kill()
        return False

    with proxy.at(number, KINDS[kind], die, after=way == AFTER) as death, kubelet:
        try:
            seconds = live(bench, kubelet, within)
        except AssertionError as error:
            raise AssertionError(f"{way} {kind} {number}: {error}\n{bench.operator_output()}") from None
        eventually(lambda: len(kubelet.exits) == death.hits, "it has ended")
    assert kubelet.exits == [0 if way == GENTLY else -signal.SIGKILL] * death.hits
    assert {kind for kind, _ in bench.events("tiny")} <= {"Normal"}
    return death.hits, seconds


def test_an_operator_ends_soon_after_sigterm(bench: Stand) -> None:
    """kopf would wait 5 s for tasks that are left over, and no operator would act meanwhile."""

    def ends_soon(name: str) -> bool:
        operator = bench.start_operator()
        bench.apply(name, modelRef="hf:acme/tiny")
        bench.until(name, "Available")
        begun = time.monotonic()
        assert operator.stop() == 0
        return time.monotonic() - begun < 5

    assert any(map(ends_soon, ("first", "second", "third"))), "not every time, for a loaded machine may be late"


def test_an_operator_that_waits_for_the_lease_ends_when_told_to(bench: Stand) -> None:
    bench.start_operator(environment={"POD_NAME": "first"})
    bench.apply("tiny", modelRef="hf:acme/tiny")
    bench.until("tiny", "Available")
    second = bench.start_operator(environment={"POD_NAME": "second"})
    eventually(lambda: "first holds the Lease" in second.output(), "the second one waits")
    assert second.stop() == 0
