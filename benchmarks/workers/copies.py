"""What it costs the operator to send a file to many worker pods, and the same file from a hub, in the same run.

`python -m benchmarks.workers.copies`: the real door over TLS in this process, its sender below it, and pods in another
process, which take the whole file in ranges of 64 MiB and throw it away. Printed are seconds, MiB per second, the
growth of this process's memory, and the longest time that its event loop took no other work. No API server is needed.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from aiohttp import web

from model_provisioner.controller.workers.door.certificates import issue, new_authority
from model_provisioner.controller.workers.door.door import Door
from model_provisioner.controller.workers.door.door_tls import load, server_context
from model_provisioner.controller.workers.door.file_reader import FileReader
from model_provisioner.controller.workers.door.file_route import FileRoute
from model_provisioner.controller.workers.door.grants import Grants, Stored
from model_provisioner.controller.workers.door.pod_process import PodProcess
from model_provisioner.domain.store.claim import Claim, StoreRef
from model_provisioner.http_server.limits import Limits
from model_provisioner.http_server.server import HttpServer
from model_provisioner.transfer.store.store import Store
from model_provisioner.worker_protocol.channel import SERVER_NAME
from model_provisioner.worker_protocol.copies import FILES_PATH
from tests.support.hub import Hub
from tests.support.models import attest, fetch, holder, plan_of, sample
from tests.support.worker_processes import worker_of

MIB = 1024**2
_RANGE = 64 * MIB
_CLAIM = Claim("models", "models")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pods", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--size", type=int, default=256, help="of the file, in MiB")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        asyncio.run(_clients(json.loads(given.client)))
    else:
        asyncio.run(_measure(given.pods, given.size * MIB))


async def _measure(pods: list[int], size: int) -> None:
    with tempfile.TemporaryDirectory() as directory, Hub() as hub:
        async with contextlib.AsyncExitStack() as closing:
            volume = Path(directory)
            stored, content = _published(volume, size)
            hub.repository("acme/tiny").add("tiny.gguf", content)
            grants = Grants()
            port, authority = await closing.enter_async_context(_door(volume, grants))
            (volume / "ca.crt").write_bytes(authority)
            url = f"{hub.endpoint}/acme/tiny/resolve/main/tiny.gguf"
            seconds, _ = await _run({"urls": [url], "jobs": [None], "ca": str(hub.ca_file), "size": size})
            print(f"hub, 1 client: {seconds:.2f} s, {size / MIB / seconds:.0f} MiB/s")
            for number in pods:
                with contextlib.ExitStack() as given:
                    secrets = [given.enter_context(grants.given(_pod(n), stored)) for n in range(number)]
                    urls = [f"https://127.0.0.1:{port}{FILES_PATH}/{secret}" for secret in secrets]
                    jobs = [f"team-{n // 4}/{n}" for n in range(number)]
                    await _report(number, {"urls": urls, "jobs": jobs, "ca": str(volume / "ca.crt"), "size": size})


async def _report(number: int, clients: dict[str, object]) -> None:
    before, size = _peak_from_now(), int(str(clients["size"]))
    seconds, delay = await _run(clients)
    grown = (_peak_kibibytes() - before) / 1024
    speed = number * size / MIB / seconds
    print(
        f"operator, {number} pods: {seconds:.2f} s, {speed:.0f} MiB/s in all, "
        f"memory +{grown:.1f} MiB, event loop held up for {delay * 1000:.0f} ms at most"
    )


async def _run(clients: dict[str, object]) -> tuple[float, float]:
    """The seconds, and the longest delay of the event loop."""
    delays = [0.0]

    async def watch() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            delays.append(time.monotonic() - before - 0.005)

    watching = asyncio.create_task(watch())
    command = [sys.executable, "-m", "benchmarks.workers.copies", "--client", json.dumps(clients)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    watching.cancel()
    return float(output), max(delays)


def _peak_from_now() -> int:
    """The peak begins anew (proc(5), clear_refs), with what is in memory now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_kibibytes()


def _peak_kibibytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@functools.cache
def _pod(number: int) -> PodProcess:
    return PodProcess(number, 1)


def _published(volume: Path, size: int) -> tuple[Stored, bytes]:
    made = sample(size=size)
    file = replace(made, planned=replace(made.planned, digest_published=True))
    with Store.open(volume, None) as store:
        store.records.settle(holder("tiny"), plan_of(file))
        fetch(store, file, uid="uid-tiny")
        attest(store, "uid-tiny", file)
        return Stored(_CLAIM, store.id, file.planned), file.content


@contextlib.asynccontextmanager
async def _door(volume: Path, grants: Grants) -> AsyncIterator[tuple[int, bytes]]:
    """The port, and the certificate of the authority. The token of each pod is that it says its number."""
    now, context = datetime.now(UTC), server_context()
    authority = new_authority(now)
    load(context, issue(authority, now))
    sender = worker_of()
    async with contextlib.AsyncExitStack() as closing:
        closing.push_async_callback(sender.stop)
        reader = FileReader({_CLAIM: StoreRef(str(volume), None)}, {_CLAIM: sender})
        await reader.start(closing)
        door = Door(lambda job, _: _pod(int(job.partition("/")[2])))
        app = web.Application()
        app.add_routes([FileRoute(door.authenticate, grants, reader).route()])
        server = HttpServer(app, Limits(connections=200), context, shutdown_seconds=0.1)
        await server.start("127.0.0.1:0", "--worker-listen")
        closing.push_async_callback(server.close)
        yield server.port, authority.certificate


async def _clients(given: dict[str, object]) -> None:
    """The pods. Prints how many seconds all of them took."""
    urls, jobs, size = given["urls"], given["jobs"], int(str(given["size"]))
    trust = ssl.create_default_context(cafile=str(given["ca"]))
    assert isinstance(urls, list)
    assert isinstance(jobs, list)

    async def take(client: aiohttp.ClientSession, url: str, job: str | None) -> None:
        for start in range(0, size, _RANGE):
            headers = {"Range": f"bytes={start}-{min(size, start + _RANGE) - 1}"}
            headers |= {"Authorization": "Bearer token"} if job else {}
            query, name = ({"job": job}, SERVER_NAME) if job else (None, None)
            async with client.get(url, params=query, headers=headers, ssl=trust, server_hostname=name) as reply:
                assert reply.status == 206, reply.status
                async for _ in reply.content.iter_any():
                    pass

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client:
        began = time.monotonic()
        await asyncio.gather(*(take(client, url, job) for url, job in zip(urls, jobs, strict=True)))
        print(time.monotonic() - began)


if __name__ == "__main__":
    main()
