"""One namespace tries every attack at the same time while another one works: the other one hardly notices.

Each attack alone, and what becomes of it, is tested beside the part that holds it off; docs/security.md names these
tests.
"""

import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from deploy.local.cluster import Cluster
from tests.faults.campaign import say
from tests.gateway.caller import condition
from tests.support.ggufs import tiny_gguf, write_gguf
from tests.support.hostile_hub import drips, hostile_hub, lists
from tests.support.programs import eventually, free_port
from tests.support.stand import Stand, stand

MODELS = 12
DELAY_SECONDS = 2.0  # the most that all attacks together may add to the time until a model's first byte is asked for
STALL_SECONDS = 10.0  # the most that they and the other tests on this machine may add to one of these times
GARBAGE = "}not what the framework wrote{"


@pytest.fixture
def bench(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Stand]:
    with stand(cluster, namespace, tmp_path) as made:
        for number in range(2 * MODELS):
            made.hub.repository(f"acme/m{number}").add("m.Q4_K_M.gguf", tiny_gguf(seed=number))
        made.hub.repository("evil/large").add("l.Q4_K_M.gguf", write_gguf(tmp_path / "l.gguf", size=64 * 1024**2))
        made.hub.repository("evil/limited").add("l.Q4_K_M.gguf", tiny_gguf(seed=99))
        parts = made.hub.repository("evil/parts")
        for part in range(1, 1201):
            parts.add(f"{'/'.join(['d' * 200] * 4)}/p.Q4_K_M-{part:05}-of-01200.gguf", b"GGUF")
        made.hub.fail(429, None, headers={"Retry-After": "3600"}, where="api", path="evil/limited")
        yield made


class Probe:
    """Asks the liveness probe until it is stopped; `failures` has every answer other than 200."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/healthz"
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.answers = 0
        self.failures: list[str] = []

    def __enter__(self) -> "Probe":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(0.5):
            try:
                with urllib.request.urlopen(self._url, timeout=30):
                    self.answers += 1
            except OSError as error:
                self.failures.append(str(error))


def seconds_to_the_first_question_for_bytes(bench: Stand, number: int) -> float:
    """From the creation of an object until the content host is asked for its file."""
    began = time.time()
    bench.apply(f"m{number}", modelRef=f"hf:acme/m{number}")

    def asked() -> float | None:
        times = [one.time for one in bench.hub.log if one.origin == "content" and f"/m{number}/" in one.path]
        return min(times, default=None)

    return eventually(asked, f"m{number} is fetched") - began


def attack(other: Stand, slow: str, long: str) -> None:
    other.secret("limited", {"token": "hf_limited"})
    other.apply("limited", modelRef="hf:evil/limited", credentialsSecretRef={"name": "limited"})
    other.until("limited", "RateLimited")
    for number in range(40):
        other.apply(f"slow-{number}", modelRef=f"hf:evil/slow-{number}", endpoint=slow)
    for number in range(4):
        other.apply(f"long-{number}", modelRef=f"hf:evil/long-{number}", endpoint=long)
        other.apply(f"paced-{number}", modelRef="hf:evil/large", maxBytesPerSecond="64Ki", priority=10**9)
    other.apply("parts", modelRef="hf:evil/parts")
    sparse = other.volume / "local"
    sparse.mkdir()
    for number in range(4):
        with (sparse / f"sparse-{number}.gguf").open("wb") as file:
            file.write(tiny_gguf())
            file.truncate(2**40)
        other.apply(f"sparse-{number}", modelRef=f"local:sparse-{number}.gguf")
    other.apply("garbage", modelRef="hf:evil/none")
    other.patch("garbage", annotations={f"models.rbee.dev/{key}": GARBAGE for key in ("release", "live", "wake")})
    other.delete("garbage")
    other.until("sparse-3", "NotGGUF")
    path = "../../etc/passwd.gguf"
    model = {"path": path, "claimName": "models", "storeID": "0" * 32, "size": "1 B", "sizeBytes": 1}
    files = [{"path": path, "sizeBytes": 1}]
    ready = condition("Ready", True, "Available", "verified and published")
    forged = {"model": {**model, "digestSource": "Source", "files": files}, "conditions": [ready]}
    other.history.forged.add("sparse-3")
    other.cluster.api.merge(f"{other.path('sparse-3')}/status", {"status": forged})


def test_another_namespace_hardly_notices_every_attack_at_once(bench: Stand) -> None:
    port = free_port()
    with (
        bench.neighbour(f"{bench.namespace}-evil") as other,
        hostile_hub(drips) as slow,
        hostile_hub(lists(100_000)) as long,
    ):
        hosts = [f"--allow-host={endpoint.removeprefix('http://')}" for endpoint in (slow, long)]
        bench.start_operator(other.store, f"--health-listen=127.0.0.1:{port}", *hosts)
        undisturbed = [seconds_to_the_first_question_for_bytes(bench, number) for number in range(MODELS)]
        with Probe(port) as probe:
            attack(other, slow, long)
            attacked = [seconds_to_the_first_question_for_bytes(bench, MODELS + number) for number in range(MODELS)]
            for number in range(2 * MODELS):
                bench.until(f"m{number}", "Available")
        say(f"undisturbed {sorted(undisturbed)}, attacked {sorted(attacked)}")
        assert median(attacked) <= median(undisturbed) + DELAY_SECONDS
        assert max(attacked) <= max(undisturbed) + STALL_SECONDS
        assert probe.failures == []
        assert probe.answers > 0
        assert other.catalog() == {}
