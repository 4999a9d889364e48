"""A worker moves bytes from each source, and imports nothing that knows one: it is told where the bytes are.

Another library costs memory in every worker; botocore alone takes 21 MiB.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.store.plan import Plan
from model_provisioner.transfer.sources.resolver import Resolver, addresses_of
from model_provisioner.worker_protocol.messages import AddressGiven, AddressWanted, Answer, Published
from tests.support import buckets, nginx, registry
from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub
from tests.support.registry import Pusher
from tests.test_imports import FORBIDDEN, REPORT, SOURCES, TRANSFER
from tests.transfer.sources.web import Fetcher, fetcher
from tests.transfer.worker_process import WorkerProcess, fetch_request

CONTENT = tiny_gguf(size=20 * 1024 * 1024)  # in several ranges
OLLAMA_MODEL = "application/vnd.ollama.image.model"
Place = tuple[str, str | None, Credentials | None]
"""A ref, the endpoint that is asked (None: that of the ref), and what opens it."""


@contextmanager
def hf(_: Path, scheme: str = "hf") -> Iterator[Place]:
    with Hub(tls=False) as hub:
        hub.repository("owner/repo").add("m.Q4_K_M.gguf", CONTENT)
        yield f"{scheme}:owner/repo", hub.endpoint, None


def modelscope(directory: Path) -> AbstractContextManager[Place]:
    return hf(directory, "modelscope")


@contextmanager
def https(directory: Path) -> Iterator[Place]:
    files = directory / "files"
    files.mkdir()
    (files / "m.gguf").write_bytes(CONTENT)
    with nginx.serving(files, directory) as url:
        yield f"{url}/m.gguf", None, None


@contextmanager
def s3(_: Path) -> Iterator[Place]:
    with buckets.moto() as server:
        server.put("models")
        server.put("models/m.gguf", CONTENT)
        yield "s3://models/m.gguf", server.url, Credentials(None, (server.url,), aws=server.keys)


@contextmanager
def oci(directory: Path) -> Iterator[Place]:
    with registry.running(directory) as url:
        pusher = Pusher(url, "team/tiny")
        pusher.artifact("v1", [pusher.blob(CONTENT, registry.GGUF)])
        yield f"oci://{url.removeprefix('http://')}/team/tiny:v1", None, None


@contextmanager
def ollama(directory: Path) -> Iterator[Place]:
    with registry.running(directory) as url:
        pusher = Pusher(url, "library/tiny")
        pusher.artifact("latest", [pusher.blob(CONTENT, OLLAMA_MODEL)])
        yield "ollama:tiny", url, None


@contextmanager
def reporting(report: Path) -> Iterator[WorkerProcess]:
    """A worker that writes what it has imported into the file `report` when it ends, as it does after the block."""
    command = [sys.executable, "-c", REPORT, str(report), "fetch", "--worker", "--allow-host", "127.0.0.1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield WorkerProcess(process)
        assert process.stdin
        process.stdin.close()
        assert process.wait(30) == 0


async def moved(fetch: Fetcher, plan: Plan, credentials: Credentials | None, worker: WorkerProcess) -> Answer:
    """The last answer of the worker to a request for `plan`; it is told addresses as by the operator."""
    addresses = addresses_of(Resolver(fetch.client), plan.ref, credentials)
    worker.send(fetch_request(fetch.root, plan, connections=4))
    while isinstance(answer := await asyncio.to_thread(worker.answer), AddressWanted):
        (file,) = plan.files
        worker.send(AddressGiven(answer.id, answer.path, await addresses(file)))
    return answer


@pytest.mark.parametrize("source", [hf, modelscope, https, s3, oci, ollama])
async def test_a_worker_that_has_moved_bytes_has_imported_no_source(
    source: Callable[[Path], AbstractContextManager[Place]], tmp_path: Path
) -> None:
    with source(tmp_path) as (ref, endpoint, credentials):
        async with fetcher(tmp_path / "volume") as fetch:
            plan = await fetch.resolve(ref, credentials, endpoint=endpoint)
            with reporting(tmp_path / "imported.json") as worker:
                answer = await moved(fetch, plan, credentials, worker)
    assert isinstance(answer, Published), answer
    assert (tmp_path / "volume" / plan.files[0].path).read_bytes() == CONTENT
    imported = json.loads((tmp_path / "imported.json").read_text())
    assert set(imported["libraries"]) == TRANSFER
    assert not set(imported["all"]) & SOURCES
    tops = {name.partition(".")[0] for name in imported["all"]}
    assert not tops & (FORBIDDEN | {"huggingface_hub", "modelscope"})
