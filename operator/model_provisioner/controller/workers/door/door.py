"""The door for worker pods: WebSocket over TLS, with the token of the pod's Job.

A connection whose token is not right is refused before it may send a message. What comes through the door is limited:
the size of a message, the connections of a pod and its pings here, the rate of its bytes and lines in `pod_process`,
what they say in `pod_answers`. Served by `pod_service`.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from aiohttp import WSMsgType, web

from model_provisioner import __version__
from model_provisioner.aio.allowance import Allowance
from model_provisioner.controller.workers.door.pod_process import PodProcess
from model_provisioner.http_server.connection import Connection
from model_provisioner.worker_protocol.channel import (
    HEARTBEAT_SECONDS,
    LONGEST_ANSWER_BYTES,
    LONGEST_GREETING_BYTES,
    PATH,
    Welcome,
    decode_hello,
    encode_greeting,
)

_GREETING_SECONDS = 10.0
_CLOSE_SECONDS = 1.0  # that the other side has to answer: the next connection of the pod waits for it
_MOST_CONNECTIONS = 4
"""Of one pod, which has one, and another one while that is found to be cut. A pod that takes more than its share of
the server's connections would keep others out."""
_PINGS_PER_SECOND, _PINGS_AT_ONCE = 1.0, 10.0
_BEARER = "Bearer "
_LONGEST_TOKEN = 128
_LONGEST_JOB = 320  # a namespace and a name


class Door:
    """`find` returns the process of a Job (NAMESPACE/NAME) if the token is that of its pod.

    A connection of which nothing comes for one and a half times `heartbeat`, in seconds, ends.
    """

    def __init__(self, find: Callable[[str, str], PodProcess | None], heartbeat: float = HEARTBEAT_SECONDS) -> None:
        self._find = find
        self._heartbeat = heartbeat
        self._open = Counter[PodProcess]()

    def route(self) -> web.RouteDef:
        return web.get(PATH, self._connect)

    def authenticate(self, request: web.Request) -> tuple[str, PodProcess] | None:
        """The Job (NAMESPACE/NAME) whose pod has sent `request`, and its process; None if it does not prove that."""
        job, header = request.query.get("job", ""), request.headers.get("Authorization", "")
        token = header.removeprefix(_BEARER)
        if len(job) > _LONGEST_JOB or len(token) > _LONGEST_TOKEN or not header.startswith(_BEARER):
            return None
        process = self._find(job, token)
        return (job, process) if process else None

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        found = self.authenticate(request)
        if found is None:
            return web.Response(status=401)
        job, process = found
        if self._open[process] >= _MOST_CONNECTIONS:
            return web.Response(status=429)
        self._open[process] += 1
        try:
            return await self._carry(request, job, process)
        finally:
            self._open[process] -= 1
            self._open += Counter()  # forgets those without one

    async def _carry(self, request: web.Request, job: str, process: PodProcess) -> web.StreamResponse:
        if isinstance(request.protocol, Connection):
            request.protocol.becomes_stream(process.bytes_allowed.delay)
        response = web.WebSocketResponse(
            heartbeat=self._heartbeat, max_msg_size=LONGEST_ANSWER_BYTES, compress=False, autoping=False
        )
        await response.prepare(request)
        socket = _Socket(request, response)
        try:
            await self._serve(process, socket)
        except ValueError as error:
            process.complain(f"the pod of Job {job} broke the protocol: {error}")
        finally:
            await socket.close()
        return response

    async def _serve(self, process: PodProcess, socket: "_Socket") -> None:
        """Raises ValueError if the pod breaks the protocol."""
        try:
            async with asyncio.timeout(_GREETING_SECONDS):
                text = await socket.receive()
        except TimeoutError:
            raise ValueError("it sent no greeting") from None
        if not isinstance(text, str) or len(text) > LONGEST_GREETING_BYTES:
            raise ValueError("its first message is no greeting")
        hello = decode_hello(text)
        if hello.version != __version__:
            raise ValueError("it has another version of the program")

        async def greet(welcome: Welcome) -> None:
            await socket.send_text(encode_greeting(welcome))

        await process.serve(socket, hello, greet)


class _Socket:
    """A WebSocket as a `pod_process.Socket`."""

    def __init__(self, request: web.Request, response: web.WebSocketResponse) -> None:
        self._request = request
        self._response = response
        self._pings = Allowance(_PINGS_PER_SECOND, _PINGS_AT_ONCE)

    async def send_text(self, text: str) -> None:
        await self._response.send_str(text)

    async def send_frame(self, frame: bytes) -> None:
        await self._response.send_bytes(frame)

    async def receive(self) -> str | bytes | None:
        while (message := await self._response.receive()).type in {WSMsgType.PING, WSMsgType.PONG}:
            if message.type is WSMsgType.PING:
                await self._response.pong(message.data)
            if delay := self._pings.delay(1):
                await asyncio.sleep(delay)  # aiohttp would answer any number of them without a pause
        return message.data if message.type in {WSMsgType.TEXT, WSMsgType.BINARY} else None

    async def close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._response.close()
        except TimeoutError:
            if self._request.transport:
                self._request.transport.abort()
