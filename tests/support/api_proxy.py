"""A proxy in front of a real kube-apiserver that a test makes misbehave while it runs.

Called by tests: the program under test gets a kubeconfig of the proxy, everything else talks to the API server itself.
The program speaks plain HTTP on loopback to the proxy, or TLS if the proxy has a `tls`. The proxy speaks TLS to the API
server, with the bearer token of the request, or as the administrator if it has none. It keeps every request, so that a
test can wait for one.
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
"""Takes the lines that a stream holds back and the next line of the watch; returns the lines to send now.

It may change the list of held lines; what the list holds when the fault ends is sent then. None means that nothing was
distorted yet: lines that were removed from the list are sent, and the line itself unless it was added to the list."""


@dataclass(frozen=True)
class Asked:
    """One request. `agent` is its User-Agent, `path` has no query, `body` is empty for a request without one."""

    method: str
    path: str
    agent: str
    is_watch: bool
    token: str | None = None
    body: bytes = b""

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
    """The reflector's watch of objects; neither kopf's watch nor a watch of the catalog."""
    return asked.is_watch and not asked.is_kopfs and asked.path.endswith(_OBJECTS)


def status_patches(asked: Asked) -> bool:
    return asked.method == "PATCH" and asked.path.endswith("/status")


@dataclass(eq=False)
class Fault:
    """One way to misbehave. `which` selects the requests that it applies to.

    `refuse` runs before a request is passed on, `after` runs after it was answered; each may wait, and may return an
    answer that replaces the API server's. `distort` changes lines of a watch. `bitten` has the requests that were
    refused or held back, and a watch once for each line that was changed.
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
    """An open watch."""

    asked: Asked
    request: web.Request
    response: web.StreamResponse
    held: list[bytes] = field(default_factory=list)

    async def send(self, lines: list[bytes]) -> None:
        for line in lines:
            await self.response.write(line)


class ApiProxy:
    """All methods may be called from any thread. Faults are context managers and end with their block.

    `cluster` is the control plane behind the proxy; `tls` is the server context, None for plain HTTP. `log` has every
    request as it arrives, `answers` the requests with the HTTP status of their answer.
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
        """Writes a kubeconfig whose server is this proxy; without `user`, requests are the administrator's."""
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
        """Closes all connections and refuses new ones."""
        self._thread.run(self._listener.close())

    def up(self) -> None:
        """Listens again, at the same address."""
        self._thread.run(self._listener.open())

    def asked(self, which: Which) -> list[Asked]:
        """The requests so far that `which` selects, oldest first."""
        return [one for one in list(self.log) if which(one)]

    def cut(self, which: Which = watches) -> int:
        """Aborts the connections of open watches; returns how many."""
        return self._thread.run(self._cut(which))

    @contextlib.contextmanager
    def answering(
        self, status: int, which: Which, *, times: int | None = None, retry_after: int | None = None
    ) -> Iterator[Fault]:
        """Answers the next `times` requests (None: all) with `status` and a Status document; does not pass them on."""

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
        """Answers no request and sends no line of a watch until the block ends; then all of them go on."""
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
        """Passes the lines of watches through `distortion`, also of watches that are open already."""
        fault = Fault(which, distort=distortion)
        with self._added(fault):
            yield fault

    @contextlib.contextmanager
    def at(self, number: int | None, which: Which, act: Callable[[], bool], *, after: bool) -> Iterator[Fault]:
        """Calls `act` just before or just after the request `number` (from 0, None: each) has reached the API server.

        Nothing is answered until `act` has returned. If it returns False, the request, or its answer, is dropped and a
        503 is sent instead.
        """
        seen = 0

        async def count(asked: Asked) -> web.Response | None:
            nonlocal seen
            seen += 1
            if number is not None and seen != number + 1:
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
            body=await request.read(),
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
            pass  # the client has closed the connection, or `cut` has
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
    """The watch stays open, and its lines are lost for good."""
    return []


async def duplicated(_held: list[bytes], line: bytes) -> list[bytes]:
    return [line, line]


async def reordered(held: list[bytes], line: bytes) -> list[bytes] | None:
    """Swaps every two versions of an object. A DELETED event stays last."""
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
    """An ERROR event, as an API server ends an open watch; 410 means that the resourceVersion is too old."""

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
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}
