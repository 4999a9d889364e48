"""The access key of the pod itself: from moto's Security Token Service, and from an agent as EKS has it on each node.

Both get the token that is in the file now. A session that ends in the middle of a download is followed by another one.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from model_provisioner.domain.credentials.ambient import PodIdentity, Provider, WebIdentity
from model_provisioner.domain.credentials.credentials import AwsKeys, Credentials
from model_provisioner.domain.errors import (
    AccessDenied,
    AddressNotAllowed,
    ProvisionError,
    RateLimited,
    SourceUnavailable,
)
from model_provisioner.domain.network.addresses import NetworkPolicy, Origin
from model_provisioner.transfer.clients.buckets.pod_keys import PodKeys
from model_provisioner.transfer.http.client import Client, NetworkSettings, open_client
from model_provisioner.transfer.sources.resolver import Resolver, addresses_of
from model_provisioner.worker_protocol.messages import Resolve
from tests.support import buckets, certificates
from tests.support.ggufs import tiny_gguf
from tests.transfer.sources.web import SETTINGS, Fetcher

CANARY = "canary-0123456789abcdef"
MODEL = tiny_gguf(size=24 * 1024 * 1024)
HOUR = 3600.0


@dataclass
class Time:
    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now


@dataclass
class Agent:
    """Gives keys to requests with the token that is in `file`; each session takes `seconds` from `wall` on.

    `first` are answers (status, body) that come before. `sessions` has the end of the session of each key.
    """

    file: Path
    wall: Time
    seconds: float = HOUR
    first: list[tuple[int, str]] = field(default_factory=list)
    sessions: dict[str, float] = field(default_factory=dict)
    url: str = ""
    asked: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        await asyncio.sleep(0.01)  # so that others ask meanwhile
        if self.first:
            status, body = self.first.pop(0)
            return web.Response(status=status, text=body)
        if request.headers.get("Authorization") != self.file.read_text().strip():
            return web.Response(status=401, text=f"{CANARY}: no")
        name = f"ASIA{len(self.sessions)}"
        expires = self.sessions[name] = self.wall() + self.seconds
        stamp = datetime.fromtimestamp(expires, UTC).isoformat().replace("+00:00", "Z")
        keys = {"AccessKeyId": name, "SecretAccessKey": f"secret-{CANARY}", "Token": f"session-{name}-{CANARY}"}
        return web.json_response({**keys, "Expiration": stamp, "AccountId": "123456789012"})


@dataclass
class Bucket:
    """A bucket that lets in each key of `agent` until its session ends; that of `content` has a version.

    After `sessions_end_after` ranges, an hour has passed; after `revoked_after`, its present keys are revoked.
    """

    agent: Agent
    content: bytes = field(default=MODEL, repr=False)
    sessions_end_after: int = 10**9
    revoked_after: int = 10**9
    ranges: int = 0
    refused: int = 0
    used: list[str] = field(default_factory=list)
    url: str = ""
    keys: str = "<Contents><Key>p/m.gguf</Key><Size>9</Size></Contents>"

    async def answer(self, request: web.Request) -> web.Response:
        name = request.query.get("X-Amz-Credential", "").partition("/")[0]
        if not name:
            return web.Response(status=403)
        if self.agent.wall() >= self.agent.sessions.get(name, 0.0):
            self.refused += "Range" in request.headers
            return web.Response(status=400, text="<Error><Code>ExpiredToken</Code></Error>")
        if not self.used or self.used[-1] != name:
            self.used.append(name)
        if "list-type" in request.query:
            return web.Response(
                text=f"<ListBucketResult>{self.keys}</ListBucketResult>", content_type="application/xml"
            )
        if request.method == "HEAD":
            return web.Response(headers={"ETag": '"t"', "Content-Length": str(len(self.content))})
        first, last = (int(text) for text in request.headers["Range"].removeprefix("bytes=").split("-"))
        self.ranges += 1
        if self.ranges == self.sessions_end_after:
            self.agent.wall.now += HOUR
        if self.ranges == self.revoked_after:
            self.agent.sessions = dict.fromkeys(self.agent.sessions, 0.0)
        headers = {"ETag": '"t"', "Content-Range": f"bytes {first}-{last}/{len(self.content)}"}
        return web.Response(status=206, headers=headers, body=self.content[first : last + 1])


@dataclass
class Pod:
    agent: Agent
    bucket: Bucket
    fetch: Fetcher
    client: Client

    @property
    def provider(self) -> PodIdentity:
        return PodIdentity(f"{self.agent.url}/v1/credentials", str(self.agent.file))

    @property
    def keys(self) -> PodKeys:
        return PodKeys(self.provider, self.client, self.agent.wall)

    @property
    def resolver(self) -> Resolver:
        return Resolver(self.client, provider=self.provider, wall=self.agent.wall)

    @property
    def credentials(self) -> Credentials:
        return Credentials(None, (self.bucket.url,), ambient=True)

    def asking(self, ref: str) -> Resolve:
        return Resolve("1", ref, self.bucket.url, credentials=self.credentials)


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    file = tmp_path / "token"
    file.write_text(f"token-1-{CANARY}\n")
    agent = Agent(file, Time())
    bucket = Bucket(agent)
    async with AsyncExitStack() as stack:
        for one in (agent, bucket):
            application = web.Application()
            application.router.add_route("*", "/{path:.*}", one.answer)
            running = await stack.enter_async_context(TestServer(application))
            one.url = str(running.make_url("")).rstrip("/")
        client = await stack.enter_async_context(open_client(SETTINGS))
        (tmp_path / "volume").mkdir()
        yield Pod(agent, bucket, Fetcher(client, tmp_path / "volume"), client)


async def test_a_key_is_asked_for_once_and_kept(pod: Pod) -> None:
    keys = pod.keys
    found = await asyncio.gather(*(keys.get() for _ in range(20)))
    assert {one.key_id for one in found} == {"ASIA0"}
    assert found[0].secret == f"secret-{CANARY}"
    assert found[0].session_token == f"session-ASIA0-{CANARY}"
    assert pod.agent.asked == 1


async def test_callers_that_wait_share_an_error_too(pod: Pod) -> None:
    pod.agent.first = [(503, ""), (503, "")]
    keys = pod.keys
    found = await asyncio.gather(*(keys.get() for _ in range(20)), return_exceptions=True)
    assert {type(one) for one in found} == {SourceUnavailable}
    assert pod.agent.asked == 1
    with pytest.raises(SourceUnavailable):
        await keys.get()
    assert pod.agent.asked == 2, "a later caller asks again"
    assert (await keys.get()).key_id == "ASIA0"


async def test_a_key_that_was_refused_is_still_a_secret(pod: Pod) -> None:
    """The error of the request that was refused is redacted after it; other requests may be under way."""
    keys, wall = pod.keys, pod.agent.wall
    first = await keys.get()
    wall.now += 61
    keys.refused(first)
    assert {first.secret, first.session_token} <= set(keys.secrets)
    assert (await keys.get()).key_id == "ASIA1"
    assert {first.session_token, f"session-ASIA1-{CANARY}"} <= set(keys.secrets)


@pytest.mark.parametrize(("session", "kept"), [(HOUR, HOUR - 300), (900.0, 600.0), (60.0, 30.0)])
async def test_a_key_is_replaced_before_its_session_is_over(pod: Pod, session: float, kept: float) -> None:
    pod.agent.seconds = session
    keys, wall = pod.keys, pod.agent.wall
    await keys.get()
    wall.now += kept - 1
    assert (await keys.get()).key_id == "ASIA0"
    wall.now += 2
    assert (await keys.get()).key_id == "ASIA1"


async def test_the_token_file_is_read_each_time(pod: Pod) -> None:
    keys = pod.keys
    await keys.get()
    pod.agent.file.write_text(f"token-2-{CANARY}")
    pod.agent.wall.now += HOUR
    assert (await keys.get()).key_id == "ASIA1"


async def test_a_model_is_fetched_with_the_key_of_the_pod(pod: Pod) -> None:
    plan = (await pod.resolver.resolve(pod.asking("s3://bkt/m.gguf"))).plan
    addresses = addresses_of(pod.resolver, plan.ref, pod.credentials)
    provided = await pod.fetch.transfer(plan, pod.credentials, 4, addresses)
    assert pod.fetch.content(provided) == MODEL
    assert CANARY not in repr(plan)


async def test_a_session_that_ends_in_the_middle_costs_no_byte_twice(pod: Pod) -> None:
    resolver = pod.resolver
    plan = (await resolver.resolve(pod.asking("s3://bkt/m.gguf"))).plan
    pod.bucket.sessions_end_after = 3
    provided = await pod.fetch.transfer(plan, pod.credentials, 1, addresses_of(resolver, plan.ref, pod.credentials))
    assert pod.fetch.content(provided) == MODEL
    assert provided.received == len(MODEL)
    assert pod.bucket.used == ["ASIA0", "ASIA1"]
    assert (pod.agent.asked, pod.bucket.refused) == (2, 1)


async def test_a_key_that_is_revoked_in_the_middle_costs_no_attempt(pod: Pod) -> None:
    """A key is replaced once a minute at most, and this one is some minutes old."""
    resolver = pod.resolver
    plan = (await resolver.resolve(pod.asking("s3://bkt/m.gguf"))).plan
    pod.agent.wall.now += 120
    pod.bucket.revoked_after = 3
    provided = await pod.fetch.transfer(plan, pod.credentials, 1, addresses_of(resolver, plan.ref, pod.credentials))
    assert pod.fetch.content(provided) == MODEL
    assert provided.received == len(MODEL)
    assert pod.bucket.used == ["ASIA0", "ASIA1"]
    assert pod.agent.asked == 2


async def test_an_address_is_given_also_if_no_other_key_is(pod: Pod) -> None:
    """Within the first minute of a key, its refusal is told by the range."""
    resolver = pod.resolver
    plan = (await resolver.resolve(pod.asking("s3://bkt/m.gguf"))).plan
    pod.agent.sessions["ASIA0"] = 0
    address = await addresses_of(resolver, plan.ref, pod.credentials)(plan.files[0])
    assert "ASIA0" in address.url
    assert pod.agent.asked == 1


async def test_an_address_ends_with_its_session(pod: Pod) -> None:
    resolver = pod.resolver
    plan = (await resolver.resolve(pod.asking("s3://bkt/m.gguf"))).plan
    address = await addresses_of(resolver, plan.ref, pod.credentials)(plan.files[0])
    assert address.expires == pytest.approx(pod.agent.sessions["ASIA0"], abs=1e-3)


async def test_a_key_that_is_refused_is_replaced_once_a_minute(pod: Pod) -> None:
    resolver = pod.resolver
    await resolver.resolve(pod.asking("s3://bkt/m.gguf"))
    pod.agent.sessions["ASIA0"] = 0  # its role was deleted
    for seconds, asked in ((1, 1), (58, 1), (2, 1), (0, 2)):
        pod.agent.wall.now += seconds
        if asked == 2:
            await resolver.resolve(pod.asking("s3://bkt/m.gguf"))
        else:
            with pytest.raises(SourceUnavailable, match="not accept the session of the pod's own"):
                await resolver.resolve(pod.asking("s3://bkt/m.gguf"))
        assert pod.agent.asked == asked


async def test_an_object_with_another_endpoint_is_not_asked_for_with_the_key(pod: Pod) -> None:
    elsewhere = Credentials(None, ("https://s3.amazonaws.com",), ambient=True)
    with pytest.raises(ProvisionError):
        await pod.resolver.resolve(replace_credentials(pod.asking("s3://bkt/m.gguf"), elsewhere))
    assert pod.agent.asked == 0


async def test_an_object_with_a_key_of_its_own_does_not_use_that_of_the_pod(pod: Pod) -> None:
    own = Credentials(None, (pod.bucket.url,), aws=AwsKeys("AKIDOWN", f"own-{CANARY}"))
    with pytest.raises(AccessDenied, match="put a new key with its AWS_SESSION_TOKEN into the Secret"):
        await pod.resolver.resolve(replace_credentials(pod.asking("s3://bkt/m.gguf"), own))
    with pytest.raises(ProvisionError, match="a Secret"):
        await pod.resolver.resolve(replace_credentials(pod.asking("s3://bkt/m.gguf"), None))
    assert pod.agent.asked == 0


def replace_credentials(request: Resolve, credentials: Credentials | None) -> Resolve:
    return Resolve(request.id, request.ref, request.endpoint, credentials=credentials)


async def test_a_pod_without_a_key_says_what_to_do(pod: Pod) -> None:
    with pytest.raises(AccessDenied, match="bind a role to its service account"):
        await Resolver(pod.client).resolve(pod.asking("s3://bkt/m.gguf"))


async def test_a_secret_that_a_bucket_sends_back_is_not_shown(pod: Pod) -> None:
    pod.bucket.keys = f"<Contents><Key>p/session-ASIA0-{CANARY}.gguf</Key><Size>9</Size></Contents>"
    with pytest.raises(SourceUnavailable, match="sent back a secret") as caught:
        await pod.resolver.resolve(pod.asking("s3://bkt/p/"))
    assert CANARY not in caught.value.message


LONG = "x" * 70_000
GOOD = {"AccessKeyId": "AKID", "SecretAccessKey": "s", "Token": "t", "Expiration": "2100-01-01T00:00:00Z"}
ANSWERS: dict[str, tuple[int, str, type[ProvisionError], str]] = {
    "refused": (401, f"{CANARY}", AccessDenied, r"\(401\): check the role, or the association"),
    "not associated": (404, "{}", AccessDenied, r"\(404\): check the role"),
    "limited": (429, "", RateLimited, "limits how often"),
    "down": (503, "", SourceUnavailable, "answered 503"),
    "a redirect": (302, "", AccessDenied, r"\(302\)"),
    "a web page": (200, "<html>log in</html>", SourceUnavailable, "no JSON object"),
    "a list": (200, "[]", SourceUnavailable, "no JSON object"),
    "deep": (200, "[" * 60_000, SourceUnavailable, "no JSON object"),
    "too long": (200, LONG, SourceUnavailable, "more than 0 MiB"),
    "nothing": (200, "{}", SourceUnavailable, "no access key with a session"),
    "no session": (200, json.dumps({**GOOD, "Token": ""}), SourceUnavailable, "no access key with a session"),
    "no secret": (200, json.dumps({**GOOD, "SecretAccessKey": None}), SourceUnavailable, "no access key with"),
    "a number": (200, json.dumps({**GOOD, "AccessKeyId": 5}), SourceUnavailable, "no access key with a session"),
    "no end": (200, json.dumps({**GOOD, "Expiration": "never"}), SourceUnavailable, "no access key with a session"),
    "an end far away": (200, json.dumps(GOOD), SourceUnavailable, "never ends"),
    "over": (200, json.dumps({**GOOD, "Expiration": "2000-01-01T00:00:00Z"}), SourceUnavailable, "is over, or never"),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_wrong_answer_of_the_agent_is_named(pod: Pod, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    status, body, kind, says = ANSWERS[name]
    pod.agent.first = [(status, body)]
    keys = pod.keys
    with pytest.raises(kind, match=says) as caught:
        await keys.get()
    assert CANARY not in f"{caught.value.message}{caplog.text}"
    assert (await keys.get()).key_id == "ASIA0", "the next one is asked for again"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"x" * 30_000, "no token"),
        (b"a\nb", "no token"),
        (b"\xff", "no ASCII"),
    ],
)
async def test_a_token_file_that_can_not_be_used_is_named(pod: Pod, content: bytes | None, says: str) -> None:
    pod.agent.file.unlink()
    if content is not None:
        pod.agent.file.write_bytes(content)
    with pytest.raises(AccessDenied, match=says):
        await pod.keys.get()
    assert pod.agent.asked == 0


async def test_only_the_provider_itself_is_reached_without_being_allowed(pod: Pod) -> None:
    """What an administrator's environment names may be private; a ref may not lead to it."""
    async with open_client(NetworkSettings(NetworkPolicy())) as strict:
        assert (await PodKeys(pod.provider, strict, pod.agent.wall).get()).key_id == "ASIA0"
        with pytest.raises(AddressNotAllowed):
            await strict.get(pod.provider.url, {}, None)
        reaching = strict.reaching(Origin.of(pod.agent.url), direct=True)
        for url in (pod.bucket.url, "http://169.254.169.254/", "https://127.0.0.1/"):
            with pytest.raises(AddressNotAllowed):
                await reaching.get(url, {}, None)


@dataclass
class Service:
    """moto's Security Token Service and S3 over TLS, and the token file of a pod."""

    server: buckets.Server
    client: Client
    provider: WebIdentity
    root: Path


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    (tmp_path / "token").write_text("aa.bb.cc\n")
    with buckets.moto(tmp_path) as server:
        settings = replace(SETTINGS, ca_file=server.ca_file)
        async with open_client(settings) as client:
            role = "arn:aws:iam::123456789012:role/models"
            provider = WebIdentity(f"{server.url}/", role, "model-provisioner", str(tmp_path / "token"))
            yield Service(server, client, provider, tmp_path / "volume")


async def test_a_role_is_assumed_at_a_security_token_service(service: Service) -> None:
    keys = await PodKeys(service.provider, service.client, time.time).get()
    assert keys.key_id.startswith("ASIA")
    assert keys.session_token
    assert keys.expires is not None
    assert 0 < keys.expires - time.time() <= HOUR + 60


async def test_a_model_is_fetched_with_an_assumed_role(service: Service) -> None:
    service.server.put("models")
    service.server.put("models/m.gguf", MODEL)
    service.root.mkdir()
    mine = Credentials(None, (service.server.url,), ambient=True)
    resolver = Resolver(service.client, provider=service.provider)
    plan = (await resolver.resolve(Resolve("1", "s3://models/m.gguf", service.server.url, credentials=mine))).plan
    fetch = Fetcher(service.client, service.root)
    provided = await fetch.transfer(plan, mine, 4, addresses_of(resolver, plan.ref, mine))
    assert fetch.content(provided) == MODEL


def form(text: str) -> dict[str, list[str]]:
    return parse_qs(text)


STS_ERRORS: list[tuple[int, str, type[ProvisionError], str]] = [
    (403, "AccessDenied", AccessDenied, "trust policy of the role"),
    (400, "InvalidIdentityToken", AccessDenied, "register the cluster's identity provider"),
    (400, "ExpiredTokenException", AccessDenied, "the token of the pod is over"),
    (403, "RegionDisabledException", AccessDenied, "switched off in this region"),
    (400, CANARY, AccessDenied, r"\(400\): check the role"),
    (400, "IDPCommunicationError", SourceUnavailable, "answered 400"),
    (400, "Throttling", RateLimited, "limits how often"),
    (500, "InternalFailure", SourceUnavailable, "answered 500"),
]


@dataclass
class TokenService:
    """Answers with a scripted body, and keeps what was sent."""

    status: int = 200
    body: str = ""
    bodies: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.text())
        self.lines.append(f"{request.method} {request.raw_path}")
        return web.Response(status=self.status, text=self.body, content_type="text/xml")


@pytest.fixture
async def scripted(tmp_path: Path) -> AsyncIterator[tuple[TokenService, PodKeys, Path]]:
    file, made, application = tmp_path / "token", TokenService(), web.Application()
    file.write_text(f"one.{CANARY}")
    application.router.add_route("*", "/{path:.*}", made.answer)
    context = certificates.server_context(["127.0.0.1"], tmp_path / "ca.pem")
    async with AsyncExitStack() as stack:
        running = TestServer(application, scheme="https")
        await running.start_server(ssl=context)
        stack.push_async_callback(running.close)
        client = await stack.enter_async_context(open_client(NetworkSettings(ca_file=tmp_path / "ca.pem")))
        provider: Provider = WebIdentity(str(running.make_url("/")), "arn:role", "me", str(file))
        yield made, PodKeys(provider, client, time.time), file


@pytest.mark.parametrize(("status", "code", "kind", "says"), STS_ERRORS)
async def test_a_refusal_of_the_service_is_told_in_words(
    scripted: tuple[TokenService, PodKeys, Path], status: int, code: str, kind: type[ProvisionError], says: str
) -> None:
    made, keys, _ = scripted
    made.status = status
    made.body = f"<ErrorResponse><Error><Code>{code}</Code><Message>one.{CANARY}</Message></Error></ErrorResponse>"
    with pytest.raises(kind, match=says) as caught:
        await keys.get()
    assert CANARY not in caught.value.message
    assert made.lines == ["POST /"], "the token is in no address"


async def test_the_service_gets_the_token_that_is_in_the_file_now(
    scripted: tuple[TokenService, PodKeys, Path],
) -> None:
    made, keys, file = scripted
    made.status = 403
    for content in ("first.token", "second.token"):
        file.write_text(content)
        with pytest.raises(AccessDenied):
            await keys.get()
    assert [form(body)["WebIdentityToken"] for body in made.bodies] == [["first.token"], ["second.token"]]
    assert form(made.bodies[0])["RoleArn"] == ["arn:role"]


WRONG_XML: dict[str, Callable[[], str]] = {
    "a web page": lambda: "<html/>",
    "no XML": lambda: "{}",
    "no key": lambda: "<AssumeRoleWithWebIdentityResponse/>",
    "entities": lambda: '<!DOCTYPE x [<!ENTITY a "b">]><AssumeRoleWithWebIdentityResponse/>',
}


@pytest.mark.parametrize("name", WRONG_XML)
async def test_a_wrong_answer_of_the_service_is_named(scripted: tuple[TokenService, PodKeys, Path], name: str) -> None:
    made, keys, _ = scripted
    made.body = WRONG_XML[name]()
    with pytest.raises(SourceUnavailable, match="no answer of a Security Token Service: check the environment"):
        await keys.get()
