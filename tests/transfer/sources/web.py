"""A web server of one file that behaves as real ones do, and the parts that fetch from it, for tests of sources."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.network.addresses import NetworkPolicy, parse_host_port
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.refs.refs import parse
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.download import engine
from model_provisioner.transfer.download.job import Addresses, Job, Provided
from model_provisioner.transfer.download.requests.throttle import Limits
from model_provisioner.transfer.http.client import Client, NetworkSettings, open_client
from model_provisioner.transfer.sources.resolver import Resolver, addresses_of
from model_provisioner.transfer.store.store import Store
from model_provisioner.worker_protocol.messages import Resolve, ResolvedAnswer
from tests.transfer.bench import HOLDER, Recorder, no_sleep

SETTINGS = NetworkSettings(NetworkPolicy(allowed_hosts=(parse_host_port("127.0.0.1"), parse_host_port("localhost"))))
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass
class FileServer:
    """Serves `content` at every path, by the rules of RFC 9110; the fields say how it differs from a good server.

    `etag` and `modified` are validators, None for none. `ranges` False: a range gets the whole file. `length` False:
    the whole file comes without Content-Length. `headers` are added to each answer. `first` are answers (status,
    headers, body) that come before all others, `before` has one for the request of a number. `needs` is a header field
    without which the answer is 401. The file becomes `changed` when `change_after` bytes were sent.
    """

    content: bytes
    etag: str | None = '"v1"'
    modified: str | None = None
    ranges: bool = True
    length: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    first: list[tuple[int, Mapping[str, str], bytes]] = field(default_factory=list)
    before: dict[int, tuple[int, Mapping[str, str], bytes]] = field(default_factory=dict)
    needs: tuple[str, str] | None = None
    url: str = ""
    log: list[web.Request] = field(default_factory=list)
    sent: int = 0
    change_after: int | None = None
    changed: "FileServer | None" = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.log.append(request)
        scripted = self.first.pop(0) if self.first else self.before.pop(len(self.log), None)
        if scripted is not None:
            status, headers, body = scripted
            return web.Response(status=status, headers=headers, body=body)
        if refused := self._refusal(request):
            return web.Response(status=refused, headers={"WWW-Authenticate": 'Basic realm="models"'})
        validators = {"ETag": self.etag, "Last-Modified": self.modified}
        headers = {**{name: value for name, value in validators.items() if value}, **self.headers}
        wanted = _RANGE.fullmatch(request.headers.get("Range", ""))
        if request.headers.get("If-Range", self.etag or self.modified) not in {self.etag, self.modified}:
            wanted = None
        if wanted is None or not self.ranges:
            return await self._send(request, 200, headers, self.content)
        start, end = int(wanted[1]), min(int(wanted[2]), len(self.content) - 1)
        if start >= len(self.content):
            return web.Response(status=416, headers={"Content-Range": f"bytes */{len(self.content)}"})
        headers["Content-Range"] = f"bytes {start}-{end}/{len(self.content)}"
        return await self._send(request, 206, headers, self.content[start : end + 1])

    def _refusal(self, request: web.Request) -> int | None:
        if self.needs and request.headers.get(self.needs[0]) != self.needs[1]:
            return 401
        if request.method == "HEAD":
            return 405
        return 412 if request.headers.get("If-Match", self.etag) != self.etag else None

    async def _send(
        self, request: web.Request, status: int, headers: Mapping[str, str], body: bytes
    ) -> web.StreamResponse:
        self.sent += len(body)
        if self.change_after is not None and self.changed and self.sent > self.change_after:
            other, self.change_after = self.changed, None
            self.content, self.etag, self.modified = other.content, other.etag, other.modified
        if self.length:
            return web.Response(status=status, headers=headers, body=body)
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        await response.write(body)
        return response


@asynccontextmanager
async def serving(server: FileServer) -> AsyncIterator[FileServer]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    async with TestServer(application) as running:
        server.url = str(running.make_url("")).rstrip("/")
        yield server


@dataclass
class Fetcher:
    """Resolver, engine and a volume at `root`, in this process. `recorder` has what was reported."""

    client: Client
    root: Path
    recorder: Recorder = field(default_factory=Recorder)
    clock: Clock = field(default_factory=lambda: Clock(sleep=no_sleep))

    async def resolve(
        self,
        ref: str,
        credentials: Credentials | None = None,
        digest: str | None = None,
        revision: str | None = None,
        endpoint: str | None = None,
        own: bool = True,
        *,
        projector: bool = False,
    ) -> Plan:
        """`endpoint` is asked, and is the administrator's if `own`; None: that of the ref itself."""
        return (await self.answer(ref, credentials, digest, revision, endpoint, own, projector=projector)).plan

    async def answer(
        self,
        ref: str,
        credentials: Credentials | None = None,
        digest: str | None = None,
        revision: str | None = None,
        endpoint: str | None = None,
        own: bool = True,
        *,
        projector: bool = False,
    ) -> ResolvedAnswer:
        asked = endpoint or parse(ref).endpoint or ""
        request = Resolve("1", ref, asked, revision, digest, credentials, own_hub=own, projector=projector)
        return await Resolver(self.client).resolve(request)

    async def fetch(
        self, ref: str, credentials: Credentials | None = None, digest: str | None = None, connections: int = 1
    ) -> Provided:
        return await self.transfer(await self.resolve(ref, credentials, digest), credentials, connections)

    async def transfer(
        self,
        plan: Plan,
        credentials: Credentials | None = None,
        connections: int = 1,
        addresses: Addresses | None = None,
    ) -> Provided:
        with await asyncio.to_thread(Store.open, self.root, None) as store:
            settled = store.records.settle(HOLDER, plan)
            addresses = addresses or addresses_of(Resolver(self.client), plan.ref, credentials)
            job = Job(settled, Limits(connections, None), 1, credentials, HOLDER.uid, addresses)
            return await engine.provide(job, store.files, self.client, self.recorder, self.clock)

    async def locate(self, ref: str, file: PlannedFile, credentials: Credentials | None = None) -> Address:
        """Where the bytes of a signed file are now."""
        return await addresses_of(Resolver(self.client), ref, credentials)(file)

    def content(self, provided: Provided, index: int = 0) -> bytes:
        return (self.root / provided.files[index].path).read_bytes()


@asynccontextmanager
async def fetcher(root: Path) -> AsyncIterator[Fetcher]:
    await asyncio.to_thread(root.mkdir, exist_ok=True)
    async with open_client(SETTINGS) as client:
        yield Fetcher(client, root)


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
