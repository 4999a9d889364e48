"""The connection of a worker pod to the operator: made again whenever it is cut, until the operator ends the worker.

While there is none, the requests that run go on, for ten minutes. If another operator answers, they are cancelled
first, with their journals written: it asks anew. Started by `command`; what a request does is in `requests`.
"""

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from model_provisioner import __version__
from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.domain.lifecycle.backoff import Backoff
from model_provisioner.worker_pod.outbox import Outbox
from model_provisioner.worker_pod.requests import Requests
from model_provisioner.worker_protocol.channel import (
    CUT_OFF_SECONDS,
    END,
    HEAD_BYTES,
    HEARTBEAT_SECONDS,
    LONGEST_GREETING_BYTES,
    PATH,
    SERVER_NAME,
    Hello,
    Welcome,
    decode_welcome,
    encode_greeting,
)
from model_provisioner.worker_protocol.codec import LONGEST_LINE_BYTES

_LOG = logging.getLogger(__name__)
_GREETING_SECONDS = 10.0
_PAUSES = Backoff(first=0.5, longest=5.0)
_REFUSED = frozenset({401, 403, 409})
"""The operator knows no such Job, or wants another version of the program: it will not change its mind."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Where the operator is, as HOST:PORT, and how this pod proves what it is.

    `job` is NAMESPACE/NAME of the pod's Job. `files` is a directory with `ca.crt` and `token`. `server_name` is in the
    operator's certificate.
    """

    address: str
    job: str
    files: Path
    server_name: str = SERVER_NAME


class RefusedError(Exception):
    """The operator does not want this worker."""


class Connection:
    """Run `run` once. `sleep` and `monotonic` are in seconds, `jitter` returns a random number in 0..1."""

    def __init__(
        self,
        operator: Operator,
        requests: Requests,
        outbox: Outbox,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._operator = operator
        self._requests = requests
        self._outbox = outbox
        self._monotonic = monotonic
        self._sleep = sleep
        self._jitter = jitter
        self._session = ""
        self._epoch = 0
        self._connected_at = monotonic()
        self._failures = 0

    async def run(self) -> int:
        """Returns the exit code: 0 when the operator has ended the worker, 1 when it has none any more.

        No request runs then.
        """
        try:
            async with aiohttp.ClientSession() as client:
                return await self._run(client)
        finally:
            await self._requests.cancel_all()

    async def _run(self, client: aiohttp.ClientSession) -> int:
        while True:
            try:
                if await self._connect(client):
                    return 0
            except RefusedError as error:
                _LOG.error("%s", error)
                return 1
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                why = str(error) or "it does not answer"  # a TimeoutError says nothing
                _LOG.warning("no connection to the operator at %s: %s", self._operator.address, why)
            finally:
                self._outbox.disconnect()
            if self._monotonic() - self._connected_at > CUT_OFF_SECONDS:
                _LOG.error("no operator for %.0fs: what has arrived is kept, the worker ends", CUT_OFF_SECONDS)
                return 1
            self._failures += 1
            await self._sleep(_PAUSES.jittered(self._failures, self._jitter()))

    async def _connect(self, client: aiohttp.ClientSession) -> bool:
        """Serves one connection. Returns True when the operator has ended the worker, False when it is cut."""
        token = (self._operator.files / "token").read_text().strip()
        try:
            connecting = client.ws_connect(
                f"wss://{self._operator.address}{PATH}",
                params={"job": self._operator.job},
                headers={"Authorization": f"Bearer {token}"},
                ssl=ssl.create_default_context(cafile=str(self._operator.files / "ca.crt")),
                server_hostname=self._operator.server_name,
                heartbeat=HEARTBEAT_SECONDS,
                max_msg_size=LONGEST_LINE_BYTES + HEAD_BYTES,
            )
            async with asyncio.timeout(_GREETING_SECONDS):
                socket = await connecting
        except aiohttp.WSServerHandshakeError as error:
            if error.status in _REFUSED:
                raise RefusedError(
                    f"the operator refuses this worker ({error.status}): it has no work for it"
                ) from None
            raise
        async with socket:
            await self._greet(socket)
            self._failures = 0
            sending = asyncio.create_task(self._send(socket))
            try:
                return await self._receive(socket)
            finally:
                self._connected_at = self._monotonic()
                await cancel_and_wait(sending)

    async def _greet(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Joins the operator's session. Raises ValueError if the other side is no operator, or an older one."""
        received = self._outbox.channel.received
        async with asyncio.timeout(_GREETING_SECONDS):
            await socket.send_str(encode_greeting(Hello(__version__, self._session, received)))
            message = await socket.receive()
        if message.type is not aiohttp.WSMsgType.TEXT or len(message.data) > LONGEST_GREETING_BYTES:
            raise ValueError("the operator has closed the connection before it welcomed this worker")
        welcome = decode_welcome(message.data)
        if welcome.epoch < self._epoch:
            raise ValueError(f"an operator with epoch {welcome.epoch} is older than the one before, {self._epoch}")
        if welcome.session != self._session:
            await self._begin(welcome)
        self._outbox.connect(welcome.received)

    async def _begin(self, welcome: Welcome) -> None:
        """Another operator: it may ask for the same files, so nothing of the one before may run any more."""
        await self._requests.cancel_all()
        self._outbox.reset()
        self._session, self._epoch = welcome.session, welcome.epoch

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT and message.data == END:
                await self._requests.cancel_all()
                return True
            if message.type is aiohttp.WSMsgType.BINARY:
                line, is_numbered = self._outbox.channel.unpack(message.data)
                if is_numbered:
                    self._outbox.confirm()
                if line:
                    self._requests.on_line(line)
        return False

    async def _send(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError):  # the receiver sees it too
            while True:
                for frame in await self._outbox.take():
                    await socket.send_bytes(frame)
