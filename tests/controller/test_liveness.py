"""The probe of a real operator whose watches are silent behind a proxy, or whose queue is stuck."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from tests.faults.campaign import LONG, say
from tests.support.api_proxy import ApiProxy, Distortion, Fault, dropped, kopfs_watch, own_watch, watches
from tests.support.hasty import GRACE_SECONDS
from tests.support.programs import Program, eventually, free_port
from tests.support.stand import Stand

REAL_GRACE_SECONDS = 20.0
REAL_SILENCE_SECONDS = 180.0
SILENT_SECONDS = 80.0
BEGUN_ANEW_SECONDS = 75.0


@dataclass
class Probed:
    """An operator that reaches the API server through `proxy`, and its probe on `port`."""

    proxy: ApiProxy
    port: int
    start: Callable[[], Program]

    def health(self) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def seconds_until_sick(self, word: str, begun: float, at_most: float) -> float:
        """The seconds from `begun`, which was before the cause, until the probe says `word`."""
        eventually(lambda: self.health()[0] == 503 and word in self.health()[1], f"the probe says {word}", at_most)
        return time.monotonic() - begun


@contextmanager
def probed(bench: Stand, cluster: Cluster, directory: Path, module: str) -> Iterator[Probed]:
    port = free_port()
    programs: list[Program] = []

    with ApiProxy(cluster) as proxy:
        config = proxy.kubeconfig(directory / "config")
        flags = [*bench.flags, f"--kubeconfig={config}", f"--health-listen=127.0.0.1:{port}"]

        def start() -> Program:
            log = directory / f"probed-{len(programs)}.log"
            programs.append(Program(["operator", *flags], log, {"POD_NAME": "probed"}, module))
            return programs[-1]

        try:
            yield Probed(proxy, port, start)
        finally:
            for program in programs:
                program.kill()


def about(name: str) -> Distortion:
    """Drops the events of one object."""

    async def lose(_held: list[bytes], line: bytes) -> list[bytes]:
        return [] if f'"name":"{name}"'.encode() in line else [line]

    return lose


def test_an_object_that_kopf_was_never_told_of_makes_the_probe_fail_and_the_restart_finds_it(
    bench: Stand, cluster: Cluster, tmp_path: Path
) -> None:
    with probed(bench, cluster, tmp_path, "tests.support.hasty") as it:
        operator = it.start()
        bench.apply("told", modelRef="hf:acme/tiny")
        bench.until("told", "Available")
        assert it.health() == (200, "ok")
        with it.proxy.distorting(about("missed"), kopfs_watch):
            begun = time.monotonic()
            bench.apply("missed", modelRef="hf:acme/tiny:Q8_0")
            bench.patch("told", {"priority": 1})
            seconds = it.seconds_until_sick("1 changes not delivered", begun, GRACE_SECONDS + 40)
            assert seconds >= GRACE_SECONDS
            eventually(lambda: bench.get("told")["status"]["observedGeneration"] == 2, "the others are looked after")
        assert it.health()[0] == 503
        operator.kill()
        it.start()
        bench.until("missed", "Available")
        eventually(lambda: it.health() == (200, "ok"), "all is well")


def test_a_stuck_queue_makes_the_probe_fail(bench: Stand, cluster: Cluster, tmp_path: Path) -> None:
    with probed(bench, cluster, tmp_path, "tests.support.stuck") as it:
        it.start()
        bench.apply("paused", modelRef="hf:acme/tiny", suspend=True)
        bench.until("paused", "Suspended")
        assert it.health() == (200, "ok")
        begun = time.monotonic()
        bench.apply("waiting", modelRef="hf:acme/tiny")
        bench.until("waiting", "Queued")
        seconds = it.seconds_until_sick("the queue is stuck", begun, GRACE_SECONDS + 40)
        assert seconds >= GRACE_SECONDS
        bench.patch("waiting", {"suspend": True})
        eventually(lambda: it.health() == (200, "ok"), "no object waits")


def silence_open_watches(proxy: ApiProxy) -> AbstractContextManager[Fault]:
    """Drops the events of the watches that are open now; later watches receive theirs."""
    open_now = {id(one) for one in proxy.asked(watches)}
    return proxy.distorting(dropped, lambda asked: id(asked) in open_now)


SILENCES: dict[str, Callable[[ApiProxy], AbstractContextManager[Fault]]] = {
    "all watches hang": lambda proxy: proxy.hanging(watches),
    "the open ones are deaf": silence_open_watches,
}

if LONG:  # the real waits last minutes

    @pytest.mark.timeout(900)
    def test_with_its_own_patience(bench: Stand, cluster: Cluster, tmp_path: Path) -> None:
        with probed(bench, cluster, tmp_path, "model_provisioner.cli") as it:
            it.start()
            bench.apply("first", modelRef="hf:acme/tiny")
            bench.until("first", "Available")
            idle_until = time.monotonic() + REAL_SILENCE_SECONDS + 30
            while time.monotonic() < idle_until:
                assert it.health() == (200, "ok")
                time.sleep(1)
            with it.proxy.distorting(dropped, kopfs_watch):
                begun = time.monotonic()
                bench.patch("first", {"priority": 1})
                seconds = it.seconds_until_sick("not delivered", begun, REAL_GRACE_SECONDS + 10)
            say(f"kopf's watch is dead: told after {seconds:.0f} s")
            it.proxy.cut(kopfs_watch)
            eventually(lambda: it.health() == (200, "ok"), "the watch is back")
            with it.proxy.distorting(dropped, watches):
                seconds = it.seconds_until_sick("nothing heard", time.monotonic(), REAL_SILENCE_SECONDS + 30)
            say(f"all watches are silent: told after {seconds:.0f} s")

    @pytest.mark.timeout(300)
    @pytest.mark.parametrize("fault", SILENCES)
    def test_silent_watches_are_begun_anew(bench: Stand, cluster: Cluster, tmp_path: Path, fault: str) -> None:
        with probed(bench, cluster, tmp_path, "model_provisioner.cli") as it:
            operator = it.start()
            bench.apply("first", modelRef="hf:acme/tiny")
            bench.until("first", "Available")
            before = {which: len(it.proxy.asked(which)) for which in (kopfs_watch, own_watch)}
            begun = time.monotonic()
            with SILENCES[fault](it.proxy):
                bench.apply("unheard", modelRef="hf:acme/tiny:Q8_0")
                while (lasted := time.monotonic() - begun) < SILENT_SECONDS:
                    assert it.health() == (200, "ok")
                    for which in [one for one, count in before.items() if len(it.proxy.asked(one)) > count]:
                        say(f"{fault}: {which.__name__} is begun anew after {lasted:.0f} s")
                        del before[which]
                    assert not before or lasted <= BEGUN_ANEW_SECONDS
                    time.sleep(0.2)
            bench.until("unheard", "Available", 10)
            assert it.health() == (200, "ok")
            assert operator.process.poll() is None
