"""The route by which a worker pod gets a file that is published on a claim of the operator: ranges, for a grant.

The pod proves what it is by the token of its Job, as for its connection (`door`). A grant of another pod is answered as
one that does not exist. The bytes pass through the operator in small pieces; how many at one time is limited here.
"""

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from model_provisioner.controller.workers.door.file_reader import FileReader
from model_provisioner.controller.workers.door.grants import Grant, Grants
from model_provisioner.controller.workers.door.pod_process import PodProcess
from model_provisioner.domain.errors import ProvisionError, SourceNotFound
from model_provisioner.http_server.connection import Connection
from model_provisioner.worker_protocol.copies import FILES_PATH

Authenticate = Callable[[web.Request], tuple[str, PodProcess] | None]

_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})", re.ASCII)
_MOST = 16
_MOST_OF_NAMESPACE = 8
_MOST_OF_POD = 2
_CHUNK_BYTES = 64 * 1024
_PLACE_SECONDS = 45.0
_FIRST_SECONDS = 30.0
_SLOWEST_BYTES_PER_SECOND = 256 * 1024
_BUSY = {"Retry-After": "5"}


class FileRoute:
    """`authenticate` returns the Job (NAMESPACE/NAME) and the process of the pod that has sent a request."""

    def __init__(self, authenticate: Authenticate, grants: Grants, reader: FileReader) -> None:
        self._authenticate = authenticate
        self._grants = grants
        self._reader = reader
        self._places = Places()

    def route(self) -> web.RouteDef:
        return web.get(FILES_PATH + "/{grant}", self._get, allow_head=False)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        pod = self._authenticate(request)
        if pod is None:
            return web.Response(status=401)
        job, process = pod
        grant = self._grants.find(request.match_info["grant"], process)
        if grant is None:
            return web.Response(status=404)
        asked = _range(request.headers.get("Range", ""), grant.stored.file.size)
        if asked is None:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{grant.stored.file.size}"})
        try:
            async with self._places.place(job):
                if not grant.take(asked[1] - asked[0]):
                    return web.Response(status=403)
                return await self._send(request, grant, *asked)
        except TimeoutError:
            return web.Response(status=503, headers=_BUSY)

    async def _send(self, request: web.Request, grant: Grant, start: int, stop: int) -> web.StreamResponse:
        response = web.StreamResponse(status=206)
        response.content_type = "application/octet-stream"
        response.content_length = stop - start
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{grant.stored.file.size}"
        try:
            async with self._reader.opened(grant.stored, start, stop) as reader:
                await response.prepare(request)
                await _pass_on(reader, response, stop - start)
        except SourceNotFound:
            return web.Response(status=404)
        except ProvisionError:
            return web.Response(status=503, headers=_BUSY)
        except (TimeoutError, EOFError):  # the pod sees that bytes are missing
            if isinstance(request.protocol, Connection):
                request.protocol.abort()
        return response


async def _pass_on(reader: asyncio.StreamReader, response: web.StreamResponse, size: int) -> None:
    """Raises TimeoutError if the pod or the volume is too slow, EOFError if the file can't be read any more."""
    left = size
    async with asyncio.timeout(_FIRST_SECONDS + size / _SLOWEST_BYTES_PER_SECOND):
        while left:
            chunk = await reader.read(min(_CHUNK_BYTES, left))
            if not chunk:
                raise EOFError
            left -= len(chunk)
            await response.write(chunk)


def _range(header: str, size: int) -> tuple[int, int] | None:
    """The first byte and the one after the last; None for anything but one range within the file."""
    match = _RANGE.fullmatch(header)
    if match is None:
        return None
    start, stop = int(match[1]), int(match[2]) + 1
    return (start, stop) if start < stop <= size else None


class Places:
    """How many answers are sent at one time: of all pods, of the pods of a namespace, and of one pod.

    So a pod that reads slowly takes no more than its share, and memory is bounded.
    """

    def __init__(self, most: int = _MOST, of_namespace: int = _MOST_OF_NAMESPACE, of_pod: int = _MOST_OF_POD) -> None:
        self._limits = (most, of_namespace, of_pod)
        self._taken: Counter[str] = Counter()
        self._waiting: list[tuple[tuple[str, ...], asyncio.Future[None]]] = []

    @contextlib.asynccontextmanager
    async def place(self, job: str) -> AsyncIterator[None]:
        """A place for the pod of `job`, NAMESPACE/NAME. Raises TimeoutError if none is free for long."""
        names = ("", f"{job.partition('/')[0]}/", job)
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (names, given)
        self._waiting.append(entry)
        self._give()
        try:
            async with asyncio.timeout(_PLACE_SECONDS):
                await given
            yield
        finally:
            if given.done() and not given.cancelled():
                self._taken = self._taken - Counter(names)
            else:
                self._waiting.remove(entry)
            self._give()

    def _give(self) -> None:
        """Gives the free places away, to those first that have waited for longest."""
        for entry in [*self._waiting]:
            names, given = entry
            if not given.done() and all(
                self._taken[name] < most for name, most in zip(names, self._limits, strict=True)
            ):
                self._taken.update(names)
                self._waiting.remove(entry)
                given.set_result(None)
