"""The files that worker pods copy: over the real door, from a real process that reads a real store."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from model_provisioner.controller.workers.door import file_reader
from model_provisioner.controller.workers.door.certificates import issue, new_authority
from model_provisioner.controller.workers.door.door import Door
from model_provisioner.controller.workers.door.door_tls import load, server_context
from model_provisioner.controller.workers.door.file_reader import FileReader
from model_provisioner.controller.workers.door.file_route import FileRoute, Places
from model_provisioner.controller.workers.door.grants import Grants, Stored
from model_provisioner.controller.workers.door.pod_process import PodProcess
from model_provisioner.domain.store.claim import Claim, StoreRef
from model_provisioner.http_server.limits import Limits
from model_provisioner.http_server.server import HttpServer
from model_provisioner.transfer.store.store import Store
from model_provisioner.worker_protocol.channel import SERVER_NAME
from model_provisioner.worker_protocol.copies import FILES_PATH
from tests.support.models import SampleFile, attest, fetch, holder, plan_of, sample
from tests.support.worker_processes import worker_of

NOW = datetime.now(UTC)
CLAIM = Claim("models", "models")
PODS = {("team-a/worker", "right"): PodProcess(1, 7), ("team-b/worker", "other"): PodProcess(2, 7)}
A, B = PODS
MIB = 1024**2


@dataclass
class Site:
    """A door that serves `stored`, the file `published`, which is below `volume`."""

    volume: Path
    published: SampleFile
    stored: Stored
    grants: Grants
    reader: FileReader
    url: str
    trust: ssl.SSLContext
    client: aiohttp.ClientSession

    @contextlib.asynccontextmanager
    async def asked(
        self, grant: str, asked: str | None = "bytes=0-9", pod: tuple[str, str] = A
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {"Authorization": f"Bearer {pod[1]}"} | ({"Range": asked} if asked else {})
        async with self.client.get(
            f"{self.url}/{grant}", params={"job": pod[0]}, headers=headers, ssl=self.trust, server_hostname=SERVER_NAME
        ) as reply:
            yield reply

    async def status(self, grant: str, asked: str | None = "bytes=0-9", pod: tuple[str, str] = A) -> int:
        async with self.asked(grant, asked, pod) as reply:
            assert reply.status == 206 or await reply.read() == b""
            return reply.status


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    published = sample(size=32 * MIB)
    planned = replace(published.planned, digest_published=True)
    published = SampleFile(planned, published.content)
    with Store.open(tmp_path, None) as store:
        store.records.settle(holder("tiny"), plan_of(published))
        fetch(store, published, uid="uid-tiny")
        attest(store, "uid-tiny", published)
        stored = Stored(CLAIM, store.id, planned)
    authority, context = new_authority(NOW), server_context()
    load(context, issue(authority, NOW))
    sender, grants = worker_of(), Grants()
    reader = FileReader({CLAIM: StoreRef(str(tmp_path), None)}, {CLAIM: sender})
    door = Door(lambda job, token: PODS.get((job, token)))
    app = web.Application()
    app.add_routes([FileRoute(door.authenticate, grants, reader).route()])
    server = HttpServer(app, Limits(connections=20), context, shutdown_seconds=0.1)
    trust = ssl.create_default_context(cadata=authority.certificate.decode())
    async with contextlib.AsyncExitStack() as closing:
        closing.push_async_callback(sender.stop)
        await reader.start(closing)
        assert await reader.confirms(stored), "the process is started before a test counts on it"
        await server.start("127.0.0.1:0", "--worker-listen")
        closing.push_async_callback(server.close)
        client = await closing.enter_async_context(aiohttp.ClientSession())
        url = f"https://127.0.0.1:{server.port}{FILES_PATH}"
        yield Site(tmp_path, published, stored, grants, reader, url, trust, client)


async def test_a_grant_gives_any_range_of_its_file(site: Site) -> None:
    size = len(site.published.content)
    with site.grants.given(PODS[A], site.stored) as grant:
        for start, stop in ((0, size), (0, 1), (size - 1, size), (5 * MIB - 3, 7 * MIB)):
            async with site.asked(grant, f"bytes={start}-{stop - 1}") as reply:
                assert (reply.status, reply.headers["Content-Range"]) == (206, f"bytes {start}-{stop - 1}/{size}")
                assert await reply.read() == site.published.content[start:stop]


async def test_many_ranges_at_one_time_are_each_right(site: Site) -> None:
    async def ask(start: int) -> bool:
        async with site.asked(grant, f"bytes={start}-{start + MIB - 1}") as reply:
            return await reply.read() == site.published.content[start : start + MIB]

    with site.grants.given(PODS[A], site.stored) as grant:
        assert all(await asyncio.gather(*(ask(start) for start in range(0, 20 * MIB, MIB))))


async def test_a_grant_of_another_pod_or_of_none_gives_nothing(site: Site) -> None:
    with site.grants.given(PODS[A], site.stored) as grant:
        assert await site.status(grant) == 206
        assert await site.status(grant, pod=B) == 404
        assert await site.status(grant[:-1]) == 404
        assert await site.status("x" * 1000) == 404
        assert await site.status(grant, pod=(A[0], B[1])) == 401
        assert await site.status(grant, pod=(A[0], "")) == 401
    assert await site.status(grant) == 404, "its fetch has ended"


@pytest.mark.parametrize(
    "asked", [None, "bytes=0-", "bytes=-5", "bytes=5-4", "bytes=0-1,3-4", f"bytes=0-{32 * MIB}", "bytes=0-9" + "9" * 30]
)
async def test_anything_but_one_range_within_the_file_is_refused(site: Site, asked: str | None) -> None:
    with site.grants.given(PODS[A], site.stored) as grant:
        assert await site.status(grant, asked) == 416


async def test_the_bytes_of_a_file_can_be_had_three_times(site: Site) -> None:
    with site.grants.given(PODS[A], site.stored) as grant:
        statuses = [await site.status(grant, f"bytes=0-{32 * MIB - 1}") for _ in range(8)]
    assert statuses == [206] * 5 + [403] * 3, "and 64 MiB on top"


def touched(path: Path) -> None:
    os.utime(path, ns=(0, 0))


def grown(path: Path) -> None:
    path.chmod(0o644)
    with path.open("ab") as file:
        file.write(b"x")


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("change", [Path.unlink, touched, grown, linked])
async def test_what_no_record_confirms_is_not_sent(site: Site, change: Callable[[Path], None]) -> None:
    assert await site.reader.confirms(site.stored)
    change(site.volume / site.published.path)
    with site.grants.given(PODS[A], site.stored) as grant:
        assert await site.status(grant) == 404
    assert not await site.reader.confirms(site.stored)


async def test_the_digest_of_a_file_gives_nothing_to_an_object_with_another_source(site: Site) -> None:
    """Any source can claim any digest, also that of a private file of another tenant."""
    file = site.stored.file
    for other in (
        replace(file, source="https://evil.example/tiny.gguf"),
        replace(file, source=f"{file.source} at https://evil.example"),
        replace(file, digest_published=False),
        replace(file, digest=None),
        replace(file, path=".provisioner/store.json"),
        replace(file, path="../outside.gguf"),
    ):
        assert not await site.reader.confirms(replace(site.stored, file=other)), other


async def test_another_store_at_the_same_place_sends_nothing(site: Site) -> None:
    exchanged = replace(site.stored, store_id="00000000-0000-0000-0000-000000000000")
    with site.grants.given(PODS[A], exchanged) as grant:
        assert await site.status(grant) == 503


async def test_a_file_that_can_not_be_read_to_its_end_cuts_the_answer(site: Site) -> None:
    path = site.volume / site.published.path
    with site.grants.given(PODS[A], site.stored) as grant:
        async with site.asked(grant, f"bytes=0-{32 * MIB - 1}") as reply:
            assert await reply.content.readexactly(1000) == site.published.content[:1000]
            path.chmod(0o644)
            os.truncate(path, 1000)
            with pytest.raises(aiohttp.ClientPayloadError):
                await reply.read()


async def test_a_volume_that_hangs_holds_up_its_own_requests_alone(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging:
        async def call(self, *_: object) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(file_reader, "_BEGIN_SECONDS", 0.2)
    monkeypatch.setitem(site.reader._senders, CLAIM, Hanging())
    with site.grants.given(PODS[A], site.stored) as grant:
        assert await site.status(grant) == 503
    assert not await site.reader.confirms(site.stored)


async def held(places: Places, job: str) -> contextlib.AsyncExitStack:
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(places.place(job))
        return stack.pop_all()


async def test_places_are_shared_among_namespaces_and_pods() -> None:
    places = Places(most=4, of_namespace=3, of_pod=2)
    first = [await held(places, job) for job in ("a/1", "a/1", "a/2")]
    waiting = {job: asyncio.create_task(held(places, job)) for job in ("a/1", "a/3", "b/1", "b/2")}
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [job for job, task in waiting.items() if task.done()] == ["b/1"], "a has its share, and all are taken"
    await first[0].aclose()
    await asyncio.wait({waiting["a/1"]}, timeout=10)
    assert waiting["a/1"].done(), "the longest wait is served first"
    waiting.pop("a/3").cancel()
    await first[1].aclose()
    await (await asyncio.wait_for(waiting["b/2"], 10)).aclose()
    for job in ("a/1", "b/1"):
        await (await waiting[job]).aclose()
    await first[2].aclose()
    assert not +places._taken
    assert not places._waiting
