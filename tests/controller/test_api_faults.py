"""An API server that fails in every way it can, while objects are made, changed, fetched and deleted.

Whatever it does, one operator lives through all of it, and within seconds of its end everything is as if
nothing had been.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.controller.lease import DURATION_SECONDS
from tests.faults.campaign import say
from tests.support.api_proxy import (
    ApiProxy,
    Asked,
    Fault,
    delayed,
    dropped,
    duplicated,
    everything,
    expired,
    reordered,
    status_patches,
    watches,
)
from tests.support.ggufs import tiny_gguf, write_gguf
from tests.support.kubelet import Kubelet
from tests.support.programs import eventually, free_port
from tests.support.stand import Stand, stand

MIB = 1024**2
LARGE = 32 * MIB
WITHIN_SECONDS = 20.0  # what is promised is 10, on a machine that has nothing else to do


@dataclass
class Site:
    """A provisioner that sees the API server through `proxy`."""

    bench: Stand
    proxy: ApiProxy
    kubelet: Kubelet
    health: str
    large: Path


@pytest.fixture(scope="module")
def site(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("site")
    cluster.create_namespace("api-faults")
    health = f"127.0.0.1:{free_port()}"
    with stand(cluster, "api-faults", directory) as bench, ApiProxy(cluster) as proxy:
        config = proxy.kubeconfig(directory / "through-proxy")
        with Kubelet(bench, f"--kubeconfig={config}", f"--health-listen={health}") as kubelet:
            large = write_gguf(directory / "large.gguf", size=LARGE)
            yield Site(bench, proxy, kubelet, f"http://{health}/healthz", large)


def patches(asked: Asked) -> bool:
    return asked.method == "PATCH" and not asked.is_for_the_lease


@contextmanager
def biting(times: int, fault: AbstractContextManager[Fault]) -> Iterator[None]:
    """Ends no earlier than it has done harm so many times."""
    with fault as running:
        yield
        eventually(lambda: running.hits >= times, f"the fault bites {times} times, and not {running.hits}")


@contextmanager
def lasting(seconds: float, fault: AbstractContextManager[object]) -> Iterator[None]:
    """Ends no earlier than after `seconds`: how long this fault lasts is part of it."""
    until = time.monotonic() + seconds
    with fault:
        yield
        time.sleep(max(0.0, until - time.monotonic()))


@contextmanager
def then_cut(proxy: ApiProxy, fault: AbstractContextManager[object]) -> Iterator[None]:
    with fault:
        yield
    proxy.cut()


@contextmanager
def cut_each_second(proxy: ApiProxy, times: int) -> Iterator[None]:
    for number in range(times):
        before = len(proxy.asked(watches))
        cut = proxy.cut()
        eventually(partial(_have_come, proxy, before + cut), "the watches are back")
        time.sleep(1)
        if number == 0:
            yield


def _have_come(proxy: ApiProxy, number: int) -> bool:
    return len(proxy.asked(watches)) >= number


@contextmanager
def gone(proxy: ApiProxy) -> Iterator[None]:
    proxy.down()
    try:
        yield
    finally:
        proxy.up()


EACH_CHANGE_TWICE = 6  # an object made, one changed, one deleted; seen by kopf and by the reflector
FAULTS: dict[str, Callable[[ApiProxy], AbstractContextManager[object]]] = {
    "watch events late": lambda proxy: biting(EACH_CHANGE_TWICE, proxy.distorting(delayed(0.5))),
    "watch events twice": lambda proxy: biting(EACH_CHANGE_TWICE, proxy.distorting(duplicated)),
    "watch events in the wrong order": lambda proxy: biting(EACH_CHANGE_TWICE, proxy.distorting(reordered)),
    "watch events lost, then the watches": lambda proxy: then_cut(
        proxy, biting(EACH_CHANGE_TWICE, proxy.distorting(dropped))
    ),
    "watches cut every second": lambda proxy: cut_each_second(proxy, 3),
    "410 in the watches": lambda proxy: biting(EACH_CHANGE_TWICE, proxy.distorting(expired)),
    "409 on status patches": lambda proxy: biting(3, proxy.answering(409, status_patches)),
    "429 on everything": lambda proxy: lasting(3, biting(5, proxy.answering(429, everything, retry_after=1))),
    "500 on patches": lambda proxy: biting(5, proxy.answering(500, patches)),
    "silent for 5 s": lambda proxy: lasting(5, biting(2, proxy.hanging())),
    "gone for 5 s": lambda proxy: lasting(5, gone(proxy)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_everything_is_as_if_nothing_had_been(site: Site, fault: str) -> None:
    bench, proxy = site.bench, site.proxy
    tag = f"f{list(FAULTS).index(fault)}"
    repository = bench.hub.repository(f"acme/{tag}")
    names = [f"{tag}-{role}" for role in ("kept", "gone", "new")]
    for seed, name in enumerate(names):
        repository.add(f"{name}.Q4_K_M.gguf", tiny_gguf(seed=seed))
    repository.add(f"{tag}-large.Q4_K_M.gguf", site.large)
    kept, deleted, new = names
    large = f"{tag}-large"
    exits = list(site.kubelet.exits)

    def apply(name: str) -> None:
        bench.apply(name, modelRef=f"hf:acme/{tag}:{name}.Q4_K_M.gguf", reclaimPolicy="Delete")

    for name in (kept, deleted):
        apply(name)
    gate = bench.hub.pause_at(LARGE // 2, path=f"{large}.Q4_K_M.gguf")
    apply(large)
    for name in (kept, deleted):
        bench.until(name, "Available")
    gate.wait_reached()

    with FAULTS[fault](proxy):
        apply(new)
        bench.patch(kept, {"priority": 3})
        bench.delete(deleted)
        gate.release()
        eventually(lambda: bench.hub.bytes_sent(f"{large}.Q4_K_M.gguf") >= LARGE, "the bytes go on flowing", 30)
    ended = time.monotonic()

    def converged() -> bool:
        ready = all(bench.ready(name).get("reason") == "Available" for name in (kept, new, large))
        observed = bench.get(kept)["status"]["observedGeneration"] == 2
        return ready and observed and not bench.exists(deleted)

    try:
        eventually(converged, f"all is well again after {fault}", WITHIN_SECONDS)
    except AssertionError as late:
        states = {name: bench.ready(name) for name in (kept, new, large)}
        raise AssertionError(f"{late}: {states}, {bench.exists(deleted)}\n{bench.operator_output()[-6000:]}") from None
    say(f"{fault}: as it should be {time.monotonic() - ended:.1f} s after the end of it")
    assert site.kubelet.exits == exits

    for seed, name in ((0, kept), (2, new)):
        assert (bench.volume / f"hf/acme/{tag}/{name}.Q4_K_M.gguf").read_bytes() == tiny_gguf(seed=seed)
        assert bench.hub.bytes_sent(f"{name}.Q4_K_M.gguf") == len(tiny_gguf(seed=seed))
    assert (bench.volume / f"hf/acme/{tag}/{large}.Q4_K_M.gguf").read_bytes() == site.large.read_bytes()
    assert bench.hub.bytes_sent(f"{large}.Q4_K_M.gguf") == site.large.stat().st_size
    own = [path for path in bench.published() if f"/{tag}/" in path]
    assert own == sorted(f"hf/acme/{tag}/{name}.Q4_K_M.gguf" for name in (kept, new, large))
    paths = {key for key in bench.catalog() if key.startswith(f"{tag}-") and key.endswith(".path")}
    assert paths == {f"{name}.path" for name in (kept, new, large)}
    assert list((bench.volume / ".provisioner" / "parts").iterdir()) == []
    assert well(site.health) == (200, "ok")


def well(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        return refused.code, refused.read().decode()


def test_a_lease_that_cannot_be_renewed_in_time_ends_the_operator_before_another_may_act(site: Site) -> None:
    """Requests that are never answered are as bad as refused ones: who waits for them is two with the next one."""
    operator = site.kubelet.operator
    with site.proxy.hanging(lambda asked: asked.is_for_the_lease) as silence:
        eventually(lambda: silence.hits, "the Lease should be renewed", 10)
        begun = time.monotonic()
        eventually(lambda: operator.process.poll() is not None, "the operator has ended", 20)
        seconds = time.monotonic() - begun
    say(f"no answer about the Lease: ended after {seconds:.1f} s")
    assert seconds < DURATION_SECONDS
    assert operator.process.returncode == 3
