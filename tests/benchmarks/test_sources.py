"""The benchmark of the sources: each serves one file to our program and to curl, and its page has what was measured."""

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.quiet import Noise
from benchmarks.sources import servers
from benchmarks.sources.front import Gate
from benchmarks.sources.report import Results
from benchmarks.sources.scenes import Expired, Resumed, ours, rival
from benchmarks.sources.servers import Servers
from benchmarks.transfer.measure import Cost, Run
from benchmarks.transfer.model import FILE, Model
from benchmarks.transfer.scenes import MIB
from tests.support import tools
from tests.support.ggufs import write_gguf

pytestmark = pytest.mark.xdist_group("benchmark-sources")  # one process makes what all of them use

SOURCES = ("hf", "https", "modelscope", "ollama", "s3", "oci")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """All servers, with a model of 1 MiB."""
    for name in ("nginx", "docker-registry", "versitygw"):
        tools.require(name)
    directory = tmp_path_factory.mktemp("servers")
    path = write_gguf(directory / FILE, size=MIB)
    model = Model(path, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    scratch = directory / "scratch"
    scratch.mkdir()
    with servers.running(model, scratch) as found:
        yield found


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_serves_the_file_to_both_programs(running: Servers, name: str, tmp_path: Path) -> None:
    (origin,) = (one for one in running.origins if one.name == name)
    subprocess.run(origin.fetch(tmp_path / "ours"), env={**os.environ, **origin.environment}, check=True)
    subprocess.run(origin.curl(tmp_path), check=True)
    (fetched,) = (tmp_path / "ours").rglob("*.gguf")
    assert fetched.read_bytes() == (tmp_path / FILE).read_bytes() == running.model.path.read_bytes()


def test_what_the_registry_and_the_bucket_send_is_counted(running: Servers, tmp_path: Path) -> None:
    with running.counted() as origins:
        for origin in origins:
            assert origin.sent
            before = origin.sent()
            subprocess.run(origin.curl(tmp_path), check=True)
            program, *flags = origin.curl(tmp_path)
            subprocess.run([program, "--range", "0-0", *flags], check=True)  # a question, which is not counted
            deadline = time.monotonic() + 60
            while origin.sent() - before != running.model.size:
                assert time.monotonic() < deadline, (origin.name, origin.sent() - before)
                time.sleep(0.01)


@pytest.mark.parametrize(("seconds", "passes"), [(60.0, True), (0.0, False)])
def test_a_token_passes_the_gate_until_it_expires(running: Servers, seconds: float, passes: bool) -> None:
    with running.expiring(Gate(tokens=True, seconds=seconds, told=60), 0) as it:
        refused = httpx.get(it.origin.url)
        realm = refused.headers["WWW-Authenticate"].split('"')[1]
        token = {"Authorization": f"Bearer {httpx.get(realm).json()['token']}"}
        answer = httpx.get(it.origin.url, headers=token)
    assert (refused.status_code, answer.status_code) == (401, 200 if passes else 401)
    assert (answer.content == running.model.path.read_bytes()) == passes


@pytest.mark.parametrize(("seconds", "passes"), [(60.0, True), (-1.0, False)])
def test_an_address_passes_the_gate_until_it_expires(running: Servers, seconds: float, passes: bool) -> None:
    with running.expiring(Gate(tokens=False, seconds=seconds), 0) as it:
        answer = httpx.get(it.origin.url)
    assert answer.status_code == (200 if passes else 403)
    assert (answer.content == running.model.path.read_bytes()) == passes


def run(wall: float) -> Run:
    return Run(Cost(wall, wall, 50 * MIB), Noise(0.0, 0.0, 0.1))


def results(twice: int) -> Results:
    costs = {ours("s3"): [run(2.7)] * 4, rival("s3"): [run(3.0)] * 4}
    expired = [Expired("address", 20.0, 4, 7, 0, 47 * MIB)]
    resumed = {"s3": [Resumed(twice, 50 * MIB), Resumed(8 * MIB, 57 * MIB)]}
    model = Model(Path("model.gguf"), 2048 * MIB, "0" * 64)
    return Results("2 cores (any).", 0.1, model, {"s3": "versitygw"}, costs, resumed, expired)


def test_the_page_has_the_figures_of_each_source() -> None:
    text = results(12 * MIB).text
    for line in (
        "| s3: wall ÷ (curl, then openssl dgst) | 0.90 | 0.90 – 0.90 | ≤ 1 | ≤ 0.9 | holds, stretch too |",
        "| s3: sent twice after kill -9 at half, the worst | 12.0 MiB | 8.0 – 12.0 | ≤ 16 MiB | ≤ 8 MiB | holds |",
        "| s3: peak memory of a worker, the worst | 57.0 MiB | 50.0 – 57.0 | ≤ 64 MiB | ≤ 56 MiB | holds |",
        "| s3 | 12.0 · 8.0 | 57.0 |",
        "| address | 20.0 | 4 | 7 | 0 | 47.0 |",
    ):
        assert line in text.splitlines()


def test_a_byte_more_than_allowed_is_a_miss() -> None:
    assert results(16 * MIB).holds
    assert not results(16 * MIB + 1).holds


def test_what_was_not_measured_is_not_on_the_page() -> None:
    text = Results("2 cores (any).", 0.1, results(0).model, {"s3": "versitygw"}, {}, {}, []).text
    assert "## " not in text
