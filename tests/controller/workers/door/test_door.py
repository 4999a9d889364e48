"""What comes through the door for worker pods: right tokens only, one connection at a time, limited messages."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
import trustme
from aiohttp import web

from model_provisioner import __version__
from model_provisioner.controller.workers.door.certificates import (
    Authority,
    is_usable,
    issue,
    new_authority,
)
from model_provisioner.controller.workers.door.door import Door
from model_provisioner.controller.workers.door.door_tls import load, server_context
from model_provisioner.controller.workers.door.pod_process import PodProcess
from model_provisioner.controller.workers.worker_pod import WorkerPod
from model_provisioner.domain.errors import WorkerLost
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.http_server.limits import Limits
from model_provisioner.http_server.server import HttpServer
from model_provisioner.worker_protocol.channel import (
    HEARTBEAT_SECONDS,
    LONGEST_ANSWER_BYTES,
    PATH,
    SERVER_NAME,
    Channel,
    Hello,
    decode_welcome,
    encode_greeting,
)
from model_provisioner.worker_protocol.codec import decode_request, encode_answer
from model_provisioner.worker_protocol.messages import Answer, Check, Checked, FailedAnswer, Measured

NOW = datetime.now(UTC)
JOB, TOKEN = "team-a/worker", "right"


@dataclass
class Site:
    """A door that knows one pod."""

    process: PodProcess
    port: int
    trust: ssl.SSLContext
    client: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"wss://127.0.0.1:{self.port}{PATH}"

    @asynccontextmanager
    async def connected(
        self, job: str = JOB, token: str = TOKEN, *, autoping: bool = True
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        headers = {"Authorization": f"Bearer {token}"}
        async with self.client.ws_connect(
            self.url,
            params={"job": job},
            headers=headers,
            ssl=self.trust,
            server_hostname=SERVER_NAME,
            autoping=autoping,
        ) as socket:
            yield socket

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self.connected() as socket:
            await socket.send_str(encode_greeting(Hello(__version__)))
            decode_welcome(await socket.receive_str(timeout=10))
            yield socket


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with opened() as found:
        yield found


@asynccontextmanager
async def opened(heartbeat: float = HEARTBEAT_SECONDS, connections: int = 10) -> AsyncIterator[Site]:
    process, authority, context = PodProcess(1, 7), new_authority(NOW), server_context()
    load(context, issue(authority, NOW))

    def find(job: str, token: str) -> PodProcess | None:
        return process if (job, token) == (JOB, TOKEN) else None

    app = web.Application()
    app.add_routes([Door(find, heartbeat).route()])
    server = HttpServer(app, Limits(connections=connections), context, shutdown_seconds=0.1)
    await server.start("127.0.0.1:0", "--listen")
    trust = ssl.create_default_context(cadata=authority.certificate.decode())
    async with aiohttp.ClientSession() as client:
        yield Site(process, server.port, trust, client)
    process.end(0)
    await server.close()


@pytest.mark.parametrize(
    ("job", "token"),
    [(JOB, "wrong"), (JOB, ""), ("team-b/worker", TOKEN), ("", TOKEN), (JOB, "x" * 5000), ("j" * 5000, TOKEN)],
    ids=["wrong", "none", "another claim's", "no job", "long token", "long job"],
)
async def test_a_wrong_token_opens_nothing(site: Site, job: str, token: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with site.connected(job, token):
            pass
    assert refused.value.status == 401
    assert not site.process.has_connected


@pytest.mark.parametrize(
    "greeting", ["", "{}", encode_greeting(Hello("another")), "x" * 5000], ids=["empty", "{}", "version", "long"]
)
async def test_without_the_right_greeting_the_connection_ends(site: Site, greeting: str) -> None:
    async with site.connected() as socket:
        await socket.send_str(greeting)
        assert (await socket.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
    assert not site.process.has_connected


async def test_a_message_that_is_too_large_ends_the_connection_and_goes_nowhere(site: Site) -> None:
    async with site.joined() as socket:
        await socket.send_bytes(Channel().pack(b"x" * LONGEST_ANSWER_BYTES + b"\n"))
        assert (await socket.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
    assert not site.process.stdout.at_eof()
    assert site.process.returncode is None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await site.process.stdout.readline()


async def test_the_certificate_has_the_name_of_the_door_alone(site: Site) -> None:
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await site.client.ws_connect(site.url, ssl=site.trust)
    other = ssl.create_default_context(cadata=new_authority(NOW).certificate.decode())
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await site.client.ws_connect(site.url, ssl=other, server_hostname=SERVER_NAME)


async def test_a_second_connection_takes_the_place_of_the_first(site: Site) -> None:
    async with site.joined() as first, site.joined() as second:
        assert (await first.receive(timeout=10)).type is aiohttp.WSMsgType.CLOSE
        site.process.write(b"request\n")
        assert (await second.receive_bytes(timeout=10)).endswith(b"request\n")


async def test_a_connection_that_is_not_read_keeps_the_next_one_waiting_for_a_second_at_most(site: Site) -> None:
    async with site.joined() as first, site.connected() as second:
        transport_of(first).pause_reading()
        for _ in range(16):
            site.process.write(b"x" * 1024**2 + b"\n")  # more than the buffers of both sides
            await asyncio.sleep(0.01)
        await second.send_str(encode_greeting(Hello(__version__)))
        decode_welcome(await second.receive_str(timeout=5))
        transport_of(first).abort()
        site.process.end(0)


def transport_of(socket: aiohttp.ClientWebSocketResponse) -> asyncio.Transport:
    connection = socket._response.connection
    assert connection
    assert connection.transport
    return connection.transport


async def test_a_pod_that_does_not_answer_the_heartbeat_is_cut_off_although_it_is_connected() -> None:
    async with opened(heartbeat=0.2) as site, site.connected(autoping=False) as socket:
        await socket.send_str(encode_greeting(Hello(__version__)))
        decode_welcome(await socket.receive_str(timeout=10))
        async with asyncio.timeout(30):
            while not site.process.is_cut_off:
                site.process.changed.clear()
                await site.process.changed.wait()
        assert site.process.returncode is None


async def test_a_pod_that_takes_all_connections_keeps_no_other_one_out() -> None:
    """They have a token, and send no greeting; a connection with a token is never closed to make room."""
    async with opened(connections=10) as site, contextlib.AsyncExitStack() as held:
        for _ in range(4):
            await held.enter_async_context(site.connected())
        for _ in range(26):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await held.enter_async_context(site.connected())
            assert refused.value.status == 429
        with pytest.raises(aiohttp.WSServerHandshakeError) as answered:
            await held.enter_async_context(site.connected("team-b/worker", "of another pod"))
        assert answered.value.status == 401, "another pod is heard"


async def test_pings_without_an_end_are_answered_slowly_and_hold_up_no_line(site: Site) -> None:
    async with site.connected(autoping=False) as socket:
        await socket.send_str(encode_greeting(Hello(__version__)))
        decode_welcome(await socket.receive_str(timeout=10))
        for _ in range(1000):
            await socket.ping()
        found = [await socket.receive(timeout=10) for _ in range(10)]
        assert {message.type for message in found} == {aiohttp.WSMsgType.PONG}
        site.process.write(b"request\n")
        while (message := await socket.receive(timeout=10)).type is aiohttp.WSMsgType.PONG:
            found.append(message)
        assert message.data.endswith(b"request\n")
        assert len(found) < 100
        site.process.end(0)


GARBAGE = [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\0" * 100_000]


async def test_garbage_keeps_no_pod_out_and_is_not_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    host, port = "127.0.0.1", site.port
    plain = [await asyncio.open_connection(host, port) for _ in range(4)]
    secure = [await asyncio.open_connection(host, port, ssl=site.trust, server_hostname=SERVER_NAME) for _ in range(4)]
    for (_, writer), data in zip(plain + secure, GARBAGE * 2, strict=True):
        writer.write(data)
    for _ in range(200):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with site.connected(token="canary"):
                pass
    async with site.joined() as socket:
        site.process.write(b"request\n")
        assert (await socket.receive_bytes(timeout=10)).endswith(b"request\n")
    for _, writer in plain + secure:
        writer.close()
    assert len(caplog.records) <= 1, caplog.text
    assert "canary" not in caplog.text


Forge = Callable[[str], Answer]
FORGED: dict[str, Forge] = {
    "another kind of answer": lambda request: Measured(request, 0, 0),
    "a file that was not asked for": lambda request: Checked(request, ("hf/other/file.gguf",)),
    "a long text": lambda request: FailedAnswer(request, "InternalError", "x" * 100_000),
    "a pause for years": lambda request: FailedAnswer(request, "RateLimited", "slow", 1e9),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
async def test_a_pod_that_answers_what_it_was_not_asked_is_ended(site: Site, forge: Forge) -> None:
    async def launch() -> PodProcess:
        return site.process

    worker = WorkerPod(launch)
    async with site.joined() as socket:
        calling = asyncio.create_task(worker.call(Check("asked", StoreRef("/models", None), ())))
        channel = Channel()
        line, _ = channel.unpack(await socket.receive_bytes(timeout=10))
        assert decode_request(line) == Check("asked", StoreRef("/models", None), ())
        await socket.send_bytes(channel.pack(encode_answer(Checked("another", ("x",)))))  # is ignored
        await socket.send_bytes(channel.pack(encode_answer(forge("asked"))))
        with pytest.raises(WorkerLost, match="the worker pod"):
            async with asyncio.timeout(10):
                await calling
        assert site.process.returncode is not None
        while (await socket.receive(timeout=10)).type is not aiohttp.WSMsgType.CLOSE:
            pass


async def test_a_line_that_is_no_answer_ends_the_pod(site: Site) -> None:
    async def launch() -> PodProcess:
        return site.process

    worker = WorkerPod(launch)
    async with site.joined() as socket:
        await worker.start()
        await socket.send_bytes(Channel().pack(b"{}\n"))
        async with asyncio.timeout(10):
            assert await site.process.wait() != 0


def test_a_certificate_that_may_not_sign_is_no_authority() -> None:
    """As a Secret of another program has it."""
    other = trustme.CA(key_type=trustme.KeyType.ECDSA)
    leaf = other.issue_cert("workers.example", key_type=trustme.KeyType.ECDSA, not_after=NOW + timedelta(days=365))
    assert not is_usable(Authority(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()), NOW)
    assert is_usable(Authority(other.cert_pem.bytes(), other.private_key_pem.bytes()), NOW)


def test_an_authority_is_replaced_long_before_what_it_signs_ends() -> None:
    authority = new_authority(NOW)
    assert is_usable(authority, NOW + timedelta(days=270))
    assert not is_usable(authority, NOW + timedelta(days=280))
    assert not is_usable(Authority(authority.certificate, new_authority(NOW).key), NOW)
    assert not is_usable(Authority(b"nothing", b"nothing"), NOW)
    assert not is_usable(authority, NOW - timedelta(days=2)), "it does not count yet"
    assert authority.key.decode() not in repr(authority)
