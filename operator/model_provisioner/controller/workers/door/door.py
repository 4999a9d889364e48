"""The door for worker pods: WebSocket over TLS, with the token of the pod's Job.

A connection whose token is not right is refused before it may send a message. What comes through the door is limited:
the size of a message here, their rate in `pod_process`, what they say in `pod_answers`. Served by `pod_service`.
"""

import asyncio
import logging
from collections.abc import Callable

from aiohttp import WSMsgType, web

from model_provisioner import __version__
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

_LOG = logging.getLogger(__name__)
_GREETING_SECONDS = 10.0
_BEARER = "Bearer "
_LONGEST_TOKEN = 128
_LONGEST_JOB = 320  # a namespace and a name


class Door:
    """`find` returns the process of a Job (NAMESPACE/NAME) if the token is that of its pod."""

    def __init__(self, find: Callable[[str, str], PodProcess | None]) -> None:
        self._find = find

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
        if isinstance(request.protocol, Connection):
            request.protocol.becomes_stream()
        response = web.WebSocketResponse(heartbeat=HEARTBEAT_SECONDS, max_msg_size=LONGEST_ANSWER_BYTES, compress=False)
        await response.prepare(request)
        try:
            await self._serve(process, _Socket(response))
        except ValueError as error:
            _LOG.warning("the pod of Job %s broke the protocol: %s", job, error)
        finally:
            await response.close()
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

    def __init__(self, response: web.WebSocketResponse) -> None:
        self._response = response

    async def send_text(self, text: str) -> None:
        await self._response.send_str(text)

    async def send_frame(self, frame: bytes) -> None:
        await self._response.send_bytes(frame)

    async def receive(self) -> str | bytes | None:
        message = await self._response.receive()
        return message.data if message.type in {WSMsgType.TEXT, WSMsgType.BINARY} else None

    async def close(self) -> None:
        await self._response.close()
