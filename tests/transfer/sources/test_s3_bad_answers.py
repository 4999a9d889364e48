"""What a server that is none, or a hostile one, answers for a bucket: each ends in a named error, in bounded memory."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from model_provisioner.domain.credentials.credentials import AwsKeys, Credentials
from model_provisioner.domain.errors import (
    AccessDenied,
    NotGGUF,
    ProvisionError,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
    UnsupportedSource,
)
from model_provisioner.domain.network.addresses import NetworkPolicy, parse_host_port
from model_provisioner.domain.store.plan import Plan
from model_provisioner.transfer.clients.buckets.s3_client import MAX_KEYS
from model_provisioner.transfer.http.client import NetworkSettings, open_client
from model_provisioner.transfer.sources.resolver import Resolver
from model_provisioner.worker_protocol.messages import Resolve
from tests.support.cost import traced_peak
from tests.support.ggufs import tiny_gguf
from tests.transfer.sources.web import Fetcher, fetcher

CANARY = "canary-0123456789abcdef"
KEYS = AwsKeys("AKID", f"secret-{CANARY}", f"session-{CANARY}")
MODEL = tiny_gguf()
MIB = 1024**2
Answer = tuple[int, Mapping[str, str], bytes]


@dataclass
class Scripted:
    """Answers heads, listings and objects with these, in order; the last one is for all further requests."""

    heads: list[Answer] = field(default_factory=lambda: [(200, {"Content-Length": "9", "ETag": '"t"'}, b"")])
    lists: list[Answer] = field(default_factory=list)
    objects: list[Answer] = field(default_factory=lambda: [(404, {}, b"")])
    url: str = ""
    log: list[web.Request] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.log.append(request)
        script = self.objects
        if request.method == "HEAD":
            script = self.heads if "key" in request.path or "gguf" in request.path else [(403, {}, b"")]
        elif "list-type" in request.query:
            script = self.lists
        status, headers, body = script.pop(0) if len(script) > 1 else script[0]
        return web.Response(status=status, headers=headers, body=body if request.method == "GET" else None)


@asynccontextmanager
async def serving(server: Scripted) -> AsyncIterator[Scripted]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    async with TestServer(application) as running:
        server.url = str(running.make_url("")).rstrip("/")
        yield server


Running = tuple[Scripted, Fetcher]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with serving(Scripted()) as server, fetcher(tmp_path / "volume") as fetch:
        yield server, fetch


async def resolve(running: Running, ref: str, keys: AwsKeys | None = None) -> Plan:
    server, fetch = running
    mine = Credentials(None, (server.url,), aws=keys) if keys else None
    return (await Resolver(fetch.client).resolve(Resolve("1", ref, server.url, credentials=mine))).plan


def entry(key: str, size: object = 9) -> str:
    return f"<Contents><Key>{escape(key)}</Key><Size>{size}</Size></Contents>"


def page(*entries: str, following: str | None = None, more: bool | None = None, head: str = "") -> Answer:
    truncated = following is not None if more is None else more
    token = "" if following is None else f"<NextContinuationToken>{following}</NextContinuationToken>"
    flag = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
    body = f'{head}<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{flag}{token}{"".join(entries)}'
    return 200, {"Content-Type": "application/xml"}, f"{body}</ListBucketResult>".encode()


def body(text: bytes, **headers: str) -> Answer:
    return 200, {"Content-Type": "application/xml", **headers}, text


LAUGHS = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
EXTERNAL = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
LISTINGS: dict[str, tuple[Answer, str]] = {
    "a web page": (body(b"<html><body>please sign in</body></html>"), "XML of another shape"),
    "a broken web page": (body(b"<!doctype html><p>please sign in<br>"), "what is no XML"),
    "nothing": (body(b""), "what is no XML"),
    "JSON": (body(b'{"Contents": []}'), "what is no XML"),
    "half a page": (body(page(entry("p/a.gguf"))[2][:-9]), "what is no XML"),
    "an error with 200": (body(b"<Error><Code>InternalError</Code></Error>"), "another shape"),
    "entities": (page(entry("p/a.gguf"), head=LAUGHS), "document type"),
    "an external entity": (page(entry("p/a.gguf"), head=EXTERNAL), "document type"),
    "an unknown encoding": (body(b'<?xml version="1.0" encoding="x-none"?><ListBucketResult/>'), "what is no XML"),
    "deep elements": (body(b"<ListBucketResult>" + b"<a>" * 100_000), "another shape"),
    "no size": (page("<Contents><Key>p/a.gguf</Key></Contents>"), "without a size"),
    "a negative size": (page(entry("p/a.gguf", -1)), "without a size"),
    "a size in words": (page(entry("p/a.gguf", "large")), "without a size"),
    "other digits": (page(entry("p/a.gguf", "٣")), "without a size"),
    "a huge size": (page(entry("p/a.gguf", 10**18)), "without a size"),
    "no key": (page("<Contents><Size>9</Size></Contents>"), "a key that is empty"),
    "a long key": (page(entry("p/" + "a" * 1100 + ".gguf")), "more than 1024 bytes"),
    "a very long key": (page(entry("p/" + "a" * 5000 + ".gguf")), "a text that is too long"),
    "another prefix": (page(entry("q/a.gguf")), "does not begin with the prefix"),
    "no next page": (page(entry("p/a.gguf"), more=True), "names no next one"),
    "too many entries": (page(*[entry("p/a.gguf")] * 1001), "more than 1,000 entries"),
    "too many bytes": (body(b"<ListBucketResult>" + b" " * 5 * MIB), "more than 4 MiB"),
    "no gzip": (body(b"<ListBucketResult/>", **{"Content-Encoding": "gzip"}), "not encoded as gzip"),
    "another coding": (body(b"<ListBucketResult/>", **{"Content-Encoding": "br"}), "content encoded as 'br'"),
    "one page for ever": (page(entry("p/a.gguf"), following="again"), "pages without an end"),
}


@pytest.mark.parametrize("name", LISTINGS)
async def test_a_wrong_listing_is_named(running: Running, name: str) -> None:
    answer, says = LISTINGS[name]
    running[0].lists = [answer]
    with traced_peak() as peak, pytest.raises(SourceUnavailable, match=says) as caught:
        await resolve(running, "s3://bkt/p/")
    assert "no answer of an S3 server: check the endpoint" in caught.value.message
    assert "sign in" not in caught.value.message
    assert peak() < 20 * MIB


async def test_pages_that_are_always_new_have_an_end(running: Running) -> None:
    running[0].lists = [page(following=f"t{number}") for number in range(300)]
    with pytest.raises(SourceUnavailable, match="pages without an end"):
        await resolve(running, "s3://bkt/p/")
    assert len(running[0].log) <= 100


async def test_more_keys_than_are_looked_at_are_an_error(running: Running) -> None:
    running[0].lists = [
        page(*[entry(f"p/{first + number}.gguf") for number in range(1000)], following=f"t{first}")
        for first in range(0, MAX_KEYS + 2000, 1000)
    ]
    with pytest.raises(UnsupportedSource, match="more than 20,000 keys below it: name a longer prefix"):
        await resolve(running, "s3://bkt/p/")
    assert len(running[0].log) == MAX_KEYS // 1000 + 1


HOSTILE = ["p/../m.gguf", "p//m.gguf", "p/./m.gguf", "p/a\\m.gguf", "p/a%0Am.gguf", "p/%00.gguf", "p/%E2%80%AEm.gguf"]
HOSTILE += ["p/" + "a" * 256 + ".gguf", "p/.provisioner/m.gguf", "p/%ED%A0%80.gguf"]


@pytest.mark.parametrize("key", HOSTILE)
async def test_a_hostile_key_is_refused_before_it_is_asked_for(running: Running, key: str) -> None:
    running[0].lists = [page("<EncodingType>url</EncodingType>", entry(key))]
    with pytest.raises(ProvisionError) as caught:
        await resolve(running, "s3://bkt/p/")
    assert isinstance(caught.value, UnsupportedSource | SourceUnavailable)
    assert caught.value.message.isprintable()
    assert [request.method for request in running[0].log] == ["GET"]


async def test_a_hostile_key_beside_the_model_does_no_harm(running: Running) -> None:
    keys = [*HOSTILE, "p/m.Q4_K_M.gguf", "p/folder/"]
    running[0].lists = [page("<EncodingType>url</EncodingType>", *map(entry, keys))]
    plan = await resolve(running, "s3://bkt/p/:Q4_K_M")
    assert [file.path.rpartition("bkt/")[2] for file in plan.files] == ["p/m.Q4_K_M.gguf"]


async def test_ten_thousand_keys_take_less_than_20_mib_and_eleven_requests(running: Running) -> None:
    keys = [f"p/folder-{number // 100:04}/model-{number:05}.F16.gguf" for number in range(9_999)]
    listed = [*keys, "p/the-one.Q4_K_M.gguf"]
    pages = [listed[first : first + 1000] for first in range(0, 10_000, 1000)]
    running[0].lists = [
        page(*map(entry, keys), following=f"t{number}" if number < 9 else None) for number, keys in enumerate(pages)
    ]
    with traced_peak() as peak:
        plan = await resolve(running, "s3://bkt/p/:Q4_K_M")
    assert plan.files[0].path.endswith("bkt/p/the-one.Q4_K_M.gguf")
    assert peak() < 20 * MIB
    assert [request.method for request in running[0].log] == ["GET"] * 10 + ["HEAD"]


def head(**headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return 200, {"Content-Length": "9", "ETag": '"t"', **named}, b""


HEADS: dict[str, tuple[Answer, type[ProvisionError], str]] = {
    "a web page": (head(Content_Type="text/html"), SourceUnavailable, "a web page"),
    "an encoding": (head(Content_Encoding="gzip"), SourceUnavailable, "encoded as"),
    "a huge size": (head(Content_Length=str(10**18)), SourceUnavailable, "a size of"),
    "no content": (head(Content_Length="0"), NotGGUF, "is empty: upload the model again"),
    "a long version": (head(x_amz_version_id="v" * 2000), SourceUnavailable, "a version that no object has"),
    "an archive": (head(x_amz_storage_class="GLACIER"), UnsupportedSource, "is archived"),
    "a deep archive": (head(x_amz_storage_class="DEEP_ARCHIVE"), UnsupportedSource, "restore it in its bucket"),
}


@pytest.mark.parametrize("name", HEADS)
async def test_a_wrong_head_is_named(running: Running, name: str) -> None:
    answer, kind, says = HEADS[name]
    running[0].heads = [answer]
    with pytest.raises(kind, match=says):
        await resolve(running, "s3://bkt/key.gguf")


XML = "<Error><Code>{}</Code></Error>"
EARLIER: dict[str, tuple[Answer, type[ProvisionError] | None]] = {
    "a limit": ((503, {}, XML.format("SlowDown").encode()), RateLimited),
    "a failure": ((500, {}, XML.format("InternalError").encode()), SourceUnavailable),
    "a version that is gone": ((404, {}, XML.format("NoSuchVersion").encode()), None),
    "a version that no object has": ((400, {}, XML.format("InvalidArgument").encode()), None),
    "a version that is a deletion": ((405, {}, XML.format("MethodNotAllowed").encode()), None),
    "a version that may not be read": ((403, {}, XML.format("AccessDenied").encode()), None),
}


@pytest.mark.parametrize("name", EARLIER)
async def test_an_earlier_version_is_given_up_only_if_it_is_gone(running: Running, name: str) -> None:
    answer, kind = EARLIER[name]
    server, fetch = running
    server.heads = [head(x_amz_version_id="new"), (answer[0], {}, b"")]
    server.objects = [answer]
    request = Resolve("1", "s3://bkt/key.gguf", server.url, "old")
    if kind:
        with pytest.raises(kind):
            await Resolver(fetch.client).resolve(request)
    else:
        assert (await Resolver(fetch.client).resolve(request)).plan.revision == "new"


async def test_an_archived_object_that_was_restored_is_taken(running: Running) -> None:
    running[0].heads = [head(x_amz_storage_class="GLACIER", x_amz_restore='ongoing-request="false"')]
    assert (await resolve(running, "s3://bkt/key.gguf")).files[0].size == 9


COMPOSITE = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.mark.parametrize(
    "headers",
    [
        {"x_amz_checksum_sha256": f"{COMPOSITE}-3", "x_amz_checksum_type": "COMPOSITE"},
        {"x_amz_checksum_sha256": COMPOSITE, "x_amz_checksum_type": "COMPOSITE"},
        {"x_amz_checksum_sha256": f"{COMPOSITE}-3"},
        {"x_amz_meta_sha256": "0" * 63},
    ],
    ids=str,
)
async def test_what_is_no_digest_of_the_whole_object_is_not_taken_for_one(
    running: Running, headers: dict[str, str]
) -> None:
    running[0].heads = [head(**headers)]
    assert (await resolve(running, "s3://bkt/key.gguf")).files[0].digest is None


def error(status: int, code: str, **headers: str) -> Answer:
    return status, {"Content-Type": "application/xml", **headers}, f"<Error><Code>{code}</Code></Error>".encode()


ERRORS: list[tuple[Answer, type[ProvisionError], str]] = [
    (error(404, "NoSuchKey"), SourceNotFound, "check the key"),
    (error(404, "NoSuchBucket"), SourceNotFound, "has no bucket bkt"),
    (error(403, "AccessDenied"), AccessDenied, "allow it s3:GetObject, and s3:ListBucket"),
    (error(403, "InvalidAccessKeyId"), AccessDenied, "correct AWS_ACCESS_KEY_ID"),
    (error(403, "SignatureDoesNotMatch"), AccessDenied, "AWS_SECRET_ACCESS_KEY is not that of"),
    (error(400, "ExpiredToken"), AccessDenied, "the session of the access key is over"),
    (error(400, "InvalidToken"), AccessDenied, "does not accept AWS_SESSION_TOKEN"),
    (error(403, "RequestTimeTooSkewed"), SourceUnavailable, "set the clock"),
    (error(403, "ExpiredRequest"), SourceUnavailable, "check the clocks"),
    (error(301, "PermanentRedirect"), SourceNotFound, "is in another region"),
    (error(301, "PermanentRedirect", **{"x-amz-bucket-region": "eu-west-3"}), SourceNotFound, "the region eu-west-3"),
    (error(301, "PermanentRedirect", **{"x-amz-bucket-region": "evil.example/"}), SourceNotFound, "another region"),
    (error(403, "InvalidObjectState"), UnsupportedSource, "is archived"),
    (error(403, "SecondLevelDomainForbidden"), UnsupportedSource, "wants the bucket in the name of the host"),
    (error(403, "PathStyleDomainForbidden"), UnsupportedSource, r"name the file as https://bkt\.HOST/KEY"),
    (error(503, "SlowDown", **{"Retry-After": "7"}), RateLimited, "limits how often"),
    (error(429, ""), RateLimited, "limits how often"),
    (error(500, "InternalError"), SourceUnavailable, "answered 500"),
    (error(418, "<x/>"), SourceUnavailable, "answered 418"),
    ((403, {}, b"<html>blocked by policy</html>"), AccessDenied, "allow it s3:GetObject"),
    ((404, {}, b"\xff" * 100_000), SourceNotFound, "is not there"),
    ((400, {}, b"<Error><Code>ExpiredToken</Code>" + b"x" * 100_000), SourceUnavailable, "answered 400"),
    ((302, {"Location": "http://10.1.2.3/x"}, b""), ProvisionError, "10.1.2.3|302"),
]


@pytest.mark.parametrize("ref", ["s3://bkt/key.gguf", "s3://bkt/p/"])
@pytest.mark.parametrize(("answer", "kind", "says"), ERRORS, ids=lambda value: str(value)[:50])
async def test_an_error_is_told_in_words(
    running: Running, answer: Answer, kind: type[ProvisionError], says: str, ref: str
) -> None:
    server, _ = running
    server.heads, server.lists, server.objects = [(answer[0], {}, b"")], [answer], [answer]
    with pytest.raises(kind, match=says) as caught:
        await resolve(running, ref, KEYS)
    assert not re.search(f"{CANARY}|Signature=|blocked", caught.value.message)
    if kind is RateLimited and "Retry-After" in answer[1]:
        assert isinstance(caught.value, RateLimited)
        assert caught.value.retry_after == 7


async def test_a_refusal_without_a_key_asks_for_one(running: Running) -> None:
    server, _ = running
    server.heads, server.objects = [(403, {}, b"")], [error(403, "AccessDenied")]
    with pytest.raises(AccessDenied, match="without an access key: give one in a Secret") as caught:
        await resolve(running, "s3://bkt/key.gguf")
    assert caught.value.wants_token


async def test_a_secret_that_comes_back_in_a_key_is_not_shown(running: Running) -> None:
    session = KEYS.session_token
    running[0].lists = [page(entry(f"p/{session}.gguf"))]
    with pytest.raises(SourceUnavailable, match="sent back a secret") as caught:
        await resolve(running, "s3://bkt/p/", KEYS)
    assert CANARY not in caught.value.message


async def test_a_size_that_differs_from_the_object_is_an_error(running: Running) -> None:
    server, fetch = running
    server.heads = [head(Content_Length=str(len(MODEL) + 1))]
    server.objects = [(206, {"Content-Range": f"bytes 0-{len(MODEL) - 1}/{len(MODEL)}", "ETag": '"t"'}, MODEL)]
    plan = await resolve(running, "s3://bkt/key.gguf")
    with pytest.raises(SourceUnavailable):
        await fetch.transfer(plan)
    assert not [path for path in fetch.root.rglob("key.gguf") if path.is_file()]


async def test_the_secret_stays_in_the_signature(running: Running) -> None:
    """The session token is part of an address, as S3 wants it; the secret itself is sent nowhere."""
    await resolve(running, "s3://bkt/key.gguf", KEYS)
    sent = [f"{request.raw_path} {dict(request.headers)}" for request in running[0].log]
    assert sent
    assert not [text for text in sent if KEYS.secret in text]
    assert [text for text in sent if "Signature=" in text and f"session-{CANARY}" in text]


@pytest.mark.parametrize(
    ("answer", "region"),
    [
        (error(403, "SignatureDoesNotMatch"), "eu-mars-1"),
        (error(403, "AccessDenied"), "us-east-1"),
        ((200, {}, b"<ListBucketResult/>"), "us-east-1"),
        ((400, {}, b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>told-1</Region></Error>"), "told-1"),
    ],
    ids=["refused", "denied", "accepted", "told"],
)
async def test_the_region_in_the_host_is_tried_if_the_default_is_refused(answer: Answer, region: str) -> None:
    """The name is resolved to loopback, where the server of this test is."""

    async def local(_: str, __: int) -> list[str]:
        return ["127.0.0.1"]

    async with serving(Scripted(lists=[answer])) as server:
        host, port = "s3.eu-mars-1.storage.example", server.url.rpartition(":")[2]
        policy = NetworkPolicy(allowed_hosts=(parse_host_port(host),))
        async with open_client(NetworkSettings(policy), resolve=local) as client:
            mine = Credentials(None, (f"http://{host}:{port}",), aws=KEYS)
            await Resolver(client).resolve(Resolve("1", "s3://bkt/key.gguf", f"http://{host}:{port}", credentials=mine))
    signed = [request.query["X-Amz-Credential"] for request in server.log if "key.gguf" in request.path]
    assert [credential.split("/")[2] for credential in signed] == [region]
