"""A proxy in front of a real kube-apiserver, which can be told to misbehave while it runs.

The program under test is given a kubeconfig that leads here; everything else talks to the API server itself. Plain
HTTP on loopback towards the program unless it is given a `tls`, TLS towards the API server: as the bearer of the
token that the program sends, else as the administrator. Every request is kept, so that a test can wait for what the
program has asked.
"""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web

from deploy.local.cluster import Cluster
from tests.support.hub.listener import Listener, LoopThread

_LINE_LIMIT = 16 * 1024 * 1024
_PASSED_ON = ("Accept", "Authorization", "Content-Type", "User-Agent")
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_OWN_CLIENT = "model-provisioner"
_LEASES = "/leases"
_OBJECTS = "/modeldownloads"

Distortion = Callable[[list[bytes], bytes], Awaitable[list[bytes] | None]]
"""What becomes of one line of a watch: the lines to send now. The list is the stream's own; what is left in it when the
fault ends is sent then. None: no harm was done yet; what has left the list is sent, and the line unless it is in it."""


@dataclass(frozen=True)
class Asked:
    """One request; `agent` is who says to ask, `path` has no query."""

    method: str
    path: str
    agent: str
    is_watch: bool
    token: str | None = None

    @property
    def is_write(self) -> bool:
        return self.method in _WRITES

    @property
    def is_for_the_lease(self) -> bool:
        return _LEASES in self.path

    @property
    def is_kopfs(self) -> bool:
        return not self.agent.startswith(_OWN_CLIENT)


Which = Callable[[Asked], bool]


def everything(_asked: Asked) -> bool:
    return True


def watches(asked: Asked) -> bool:
    return asked.is_watch


def kopfs_watch(asked: Asked) -> bool:
    return asked.is_watch and asked.is_kopfs


def own_watch(asked: Asked) -> bool:
    """The reflector's; of objects, as kopf's, and not of the catalog."""
    return asked.is_watch and not asked.is_kopfs and asked.path.endswith(_OBJECTS)


def status_patches(asked: Asked) -> bool:
    return asked.method == "PATCH" and asked.path.endswith("/status")


@dataclass(eq=False)
class Fault:
    """`refuse` and `after` may answer in place of the API server, or hold back; `distort` changes lines of a watch.

    `bitten` has the requests that were refused or held back, and the watches once for each line that was changed.
    """

    which: Which
    refuse: Callable[[Asked], Awaitable[web.Response | None]] | None = None
    after: Callable[[Asked], Awaitable[web.Response | None]] | None = None
    distort: Distortion | None = None
    bitten: list[Asked] = field(default_factory=list)

    @property
    def hits(self) -> int:
        return len(self.bitten)

    def hits_on(self, which: Which) -> int:
        return sum(which(asked) for asked in list(self.bitten))


@dataclass(eq=False)
class _Stream:
    """A watch that is being passed on."""

    asked: Asked
    request: web.Request
    response: web.StreamResponse
    held: list[bytes] = field(default_factory=list)

    async def send(self, lines: list[bytes]) -> None:
        for line in lines:
            await self.response.write(line)


class ApiProxy:
    """Everything here may be called from any thread; faults are context managers and end with their block.

    `log` has every request as it comes, `answers` the HTTP status that it was answered with.
    """

    def __init__(self, cluster: Cluster, tls: ssl.SSLContext | None = None) -> None:
        self.log: list[Asked] = []
        self.answers: list[tuple[Asked, int]] = []
        self._api = cluster.api
        self._anonymous: ssl.SSLContext = cluster.anonymous().tls
        self._faults: list[Fault] = []
        self._streams: set[_Stream] = set()
        self._thread = LoopThread()
        self._listener = Listener(self._application, "127.0.0.1", 0, tls)

    def __enter__(self) -> Self:
        self._session = self._thread.run(self._connect())
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._faults.clear()
        self.down()
        self._thread.run(self._session.close())
        self._thread.stop()
        self._listener.release()

    @property
    def url(self) -> str:
        return self._listener.origin

    def kubeconfig(self, path: Path, user: dict[str, str] | None = None) -> Path:
        """Writes a kubeconfig that leads here; without `user` one is the administrator."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "proxy", "user": user or {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def down(self) -> None:
        """Refuses connections and drops those there are."""
        self._thread.run(self._listener.close())

    def up(self) -> None:
        """Listens again, at the same address."""
        self._thread.run(self._listener.open())

    def asked(self, which: Which) -> list[Asked]:
        """The requests so far."""
        return [one for one in list(self.log) if which(one)]

    def cut(self, which: Which = watches) -> int:
        """Drops the connections of the watches there are; tells how many."""
        return self._thread.run(self._cut(which))

    @contextlib.contextmanager
    def answering(
        self, status: int, which: Which, *, times: int | None = None, retry_after: int | None = None
    ) -> Iterator[Fault]:
        """The next `times` requests (None: all) are refused, in the words of an API server, and not passed on."""

        async def refuse(asked: Asked) -> web.Response | None:
            if times is not None and fault.hits >= times:
                return None
            fault.bitten.append(asked)
            return _refusal(status, retry_after)

        fault = Fault(which, refuse=refuse)
        with self._added(fault):
            yield fault

    @contextlib.contextmanager
    def hanging(self, which: Which = everything) -> Iterator[Fault]:
        """Takes requests and says nothing until the block ends, watches too; who has waited so long is served then."""
        over = asyncio.Event()

        async def wait(asked: Asked) -> web.Response | None:
            fault.bitten.append(asked)
            await over.wait()
            return None

        async def hold(held: list[bytes], line: bytes) -> list[bytes]:
            held.append(line)
            return []

        fault = Fault(which, refuse=wait, distort=hold)
        try:
            with self._added(fault):
                yield fault
        finally:
            self._thread.run(_open(over))

    @contextlib.contextmanager
    def distorting(self, distortion: Distortion, which: Which = watches) -> Iterator[Fault]:
        """Lines of watches, also of those that are open now, go through `distortion`."""
        fault = Fault(which, distort=distortion)
        with self._added(fault):
            yield fault

    @contextlib.contextmanager
    def at(self, number: int, which: Which, act: Callable[[], bool], *, after: bool) -> Iterator[Fault]:
        """Calls `act` once, just before or just after the request `number` (from 0) has reached the API server.

        Nothing is answered until it has returned; if it returns False, the request goes no further, or its answer.
        """
        seen = 0

        async def count(asked: Asked) -> web.Response | None:
            nonlocal seen
            seen += 1
            if seen != number + 1:
                return None
            fault.bitten.append(asked)
            return None if await asyncio.to_thread(act) else _refusal(503, None)

        fault = Fault(which, after=count) if after else Fault(which, refuse=count)
        with self._added(fault):
            yield fault

    @contextlib.contextmanager
    def _added(self, fault: Fault) -> Iterator[None]:
        self._faults.append(fault)
        try:
            yield
        finally:
            self._faults.remove(fault)
            self._thread.run(self._let_go())

    async def _connect(self) -> aiohttp.ClientSession:
        timeout = aiohttp.ClientTimeout(total=None)
        return aiohttp.ClientSession(
            read_bufsize=_LINE_LIMIT, timeout=timeout, connector=aiohttp.TCPConnector(limit=0), auto_decompress=False
        )

    async def _let_go(self) -> None:
        for stream in list(self._streams):
            held, stream.held = stream.held, []
            with contextlib.suppress(OSError, RuntimeError):
                await stream.send(held)

    async def _cut(self, which: Which) -> int:
        chosen = [stream for stream in self._streams if which(stream.asked)]
        for stream in chosen:
            if stream.request.transport:
                stream.request.transport.abort()
        return len(chosen)

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=_LINE_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._serve)
        return app

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(
            method=request.method,
            path=request.path,
            agent=request.headers.get("User-Agent", ""),
            is_watch=request.query.get("watch") == "true",
            token=request.headers.get("Authorization", "").removeprefix("Bearer ") or None,
        )
        self.log.append(asked)
        for fault in list(self._faults):
            if fault.refuse and fault.which(asked) and (refusal := await fault.refuse(asked)):
                self.answers.append((asked, refusal.status))
                return refusal
        async with self._passed_on(request, asked) as answer:
            self.answers.append((asked, answer.status))
            if asked.is_watch and answer.status == 200:
                return await self._stream(request, asked, answer)
            body = await answer.read()
            for fault in list(self._faults):
                if fault.after and fault.which(asked) and (refusal := await fault.after(asked)):
                    return refusal
            headers = {name: answer.headers[name] for name in ("Content-Type", "Retry-After") if name in answer.headers}
            return web.Response(status=answer.status, body=body, headers=headers)

    @contextlib.asynccontextmanager
    async def _passed_on(self, request: web.Request, asked: Asked) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        async with self._session.request(
            request.method,
            f"{self._api.url}{request.raw_path}",
            headers={**headers, "Accept-Encoding": "identity"},
            data=await request.read() or None,
            ssl=self._anonymous if asked.token else self._api.tls,
        ) as answer:
            yield answer

    async def _stream(self, request: web.Request, asked: Asked, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        stream = _Stream(asked, request, response)
        self._streams.add(stream)
        try:
            async for line in answer.content:
                await stream.send(await self._distorted(stream, line))
        except OSError:
            pass  # the reader has gone, or was cut off
        finally:
            self._streams.discard(stream)
        return response

    async def _distorted(self, stream: _Stream, line: bytes) -> list[bytes]:
        for fault in list(self._faults):
            if fault.distort and fault.which(stream.asked):
                before = [*stream.held, line]
                sent = await fault.distort(stream.held, line)
                if sent is None:
                    return [one for one in before if one not in stream.held]
                fault.bitten.append(stream.asked)
                return sent
        return [line]


async def _open(gate: asyncio.Event) -> None:
    gate.set()


async def dropped(_held: list[bytes], _line: bytes) -> list[bytes]:
    """For ever: the watch is open and says nothing."""
    return []


async def duplicated(_held: list[bytes], line: bytes) -> list[bytes]:
    return [line, line]


async def reordered(held: list[bytes], line: bytes) -> list[bytes] | None:
    """Every two versions of one object in the wrong order; but after the last there is no other."""
    event = json.loads(line)
    earlier = next((one for one in held if _uid(one) == _uid(line)), None)
    if earlier:
        held.remove(earlier)
        return [line, earlier] if event["type"] == "MODIFIED" else None
    if event["type"] in {"ADDED", "MODIFIED"}:
        held.append(line)
    return None


def _uid(line: bytes) -> str | None:
    uid: str | None = json.loads(line)["object"]["metadata"].get("uid")
    return uid


def failing(status: int) -> Distortion:
    """As an API server ends a watch that has begun: 410 says that the version is too old to go on from."""

    async def fail(_held: list[bytes], _line: bytes) -> list[bytes]:
        return [json.dumps({"type": "ERROR", "object": _status(status)}).encode() + b"\n"]

    return fail


def delayed(seconds: float) -> Distortion:
    async def delay(_held: list[bytes], line: bytes) -> list[bytes]:
        await asyncio.sleep(seconds)
        return [line]

    return delay


def _refusal(status: int, retry_after: int | None) -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return web.json_response(_status(status), status=status, headers=headers)


def _status(code: int) -> dict[str, Any]:
    reason = _REASONS[code]
    words = {"status": "Failure", "reason": reason, "message": f"scripted: {reason}"}
    return {"kind": "Status", "apiVersion": "v1", "code": code, **words}


_REASONS = {
    401: "Unauthorized",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}
