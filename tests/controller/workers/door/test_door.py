"""What comes through the door for worker pods: right tokens only, one connection at a time, limited messages."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
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
    url: str
    trust: ssl.SSLContext
    client: aiohttp.ClientSession

    @asynccontextmanager
    async def connected(self, job: str = JOB, token: str = TOKEN) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        headers = {"Authorization": f"Bearer {token}"}
        async with self.client.ws_connect(
            self.url, params={"job": job}, headers=headers, ssl=self.trust, server_hostname=SERVER_NAME
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
    process, authority, context = PodProcess(1, 7), new_authority(NOW), server_context()
    load(context, issue(authority, NOW))

    def find(job: str, token: str) -> PodProcess | None:
        return process if (job, token) == (JOB, TOKEN) else None

    app = web.Application()
    app.add_routes([Door(find).route()])
    server = HttpServer(app, Limits(connections=10), context, shutdown_seconds=0.1)
    await server.start("127.0.0.1:0", "--listen")
    trust = ssl.create_default_context(cadata=authority.certificate.decode())
    async with aiohttp.ClientSession() as client:
        yield Site(process, f"wss://127.0.0.1:{server.port}{PATH}", trust, client)
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


def test_an_authority_is_replaced_long_before_what_it_signs_ends() -> None:
    authority = new_authority(NOW)
    assert is_usable(authority, NOW + timedelta(days=270))
    assert not is_usable(authority, NOW + timedelta(days=280))
    assert not is_usable(Authority(authority.certificate, new_authority(NOW).key), NOW)
    assert not is_usable(Authority(b"nothing", b"nothing"), NOW)
    assert authority.key.decode() not in repr(authority)
