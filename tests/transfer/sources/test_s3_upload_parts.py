"""Objects that were uploaded in parts: each part is compared with its SHA-256, where a server tells these.

The server is scripted by the documentation of GetObjectAttributes: neither moto nor versitygw lists the parts.
"""

import base64
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from model_provisioner.domain.credentials.credentials import AwsKeys, Credentials
from model_provisioner.domain.errors import (
    AccessDenied,
    DigestMismatch,
    ProvisionError,
    RateLimited,
    SourceUnavailable,
)
from model_provisioner.domain.store.plan import Plan
from model_provisioner.domain.store.upload_parts import UploadParts
from model_provisioner.transfer.sources import s3
from model_provisioner.transfer.sources.resolver import Resolver
from model_provisioner.worker_protocol.codec import decode_answer, encode_answer
from model_provisioner.worker_protocol.messages import Resolve, ResolvedAnswer
from tests.support.cost import traced_peak
from tests.support.ggufs import tiny_gguf
from tests.transfer.sources.web import Fetcher, fetcher, sha256

KEYS = AwsKeys("AKIDEXAMPLE", "canary-0123456789abcdef")
MODEL = tiny_gguf(size=3 * 1024 * 1024)
REF = "s3://bkt/model.gguf"
Part = tuple[int, int, bytes]


def cut(content: bytes, size: int) -> list[Part]:
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    return [(number, len(piece), hashlib.sha256(piece).digest()) for number, piece in enumerate(pieces, 1)]


def encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


@dataclass
class Bucket:
    """One object of `content`, whose `parts` are told in pages of `page` parts as Amazon S3 documents it.

    `attributes` answers instead if it is set. `damaged` is an offset at which every body has another byte.
    """

    content: bytes = field(default=MODEL, repr=False)
    parts: list[Part] = field(default_factory=lambda: cut(MODEL, 1024 * 1024))
    page: int = 1000
    attributes: Callable[[web.Request], web.Response] | None = None
    damaged: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""
    asked: list[web.Request] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        composite = hashlib.sha256(b"".join(digest for *_, digest in self.parts)).digest()
        stated = {
            "x-amz-checksum-sha256": f"{encoded(composite)}-{len(self.parts)}",
            "x-amz-checksum-type": "COMPOSITE",
        }
        headers = {"ETag": f'"{"0" * 32}-{len(self.parts)}"', "x-amz-version-id": "v1", **self.headers}
        if request.method == "HEAD":
            return web.Response(headers={**headers, **stated, "Content-Length": str(len(self.content))})
        if "attributes" in request.query:
            self.asked.append(request)
            return (self.attributes or self._attributes)(request)
        if request.query.get("versionId") != "v1" or "Range" not in request.headers:
            return web.Response(status=404)
        first, last = (int(text) for text in request.headers["Range"].removeprefix("bytes=").split("-"))
        last = min(last, len(self.content) - 1)
        body = bytearray(self.content[first : last + 1])
        if self.damaged and first <= self.damaged[0] <= last:
            body[self.damaged.pop(0) - first] ^= 1
        headers["Content-Range"] = f"bytes {first}-{last}/{len(self.content)}"
        return web.Response(status=206, headers=headers, body=bytes(body))

    def _attributes(self, request: web.Request) -> web.Response:
        signed = request.query["X-Amz-SignedHeaders"].split(";")
        assert {"x-amz-object-attributes", "x-amz-max-parts", "x-amz-part-number-marker"} <= set(signed)
        assert request.headers["x-amz-object-attributes"] == "ObjectParts"
        marker, most = (int(request.headers[f"x-amz-{name}"]) for name in ("part-number-marker", "max-parts"))
        following = [part for part in self.parts if part[0] > marker]
        shown = following[: min(most, self.page)]
        return parts_page(shown, more=len(shown) < len(following))


def parts_page(parts: list[Part], *, more: bool) -> web.Response:
    listed = "".join(
        f"<Part><ChecksumSHA256>{encoded(digest)}</ChecksumSHA256><PartNumber>{number}</PartNumber>"
        f"<Size>{size}</Size></Part>"
        for number, size, digest in parts
    )
    following = f"<NextPartNumberMarker>{parts[-1][0] if parts else 0}</NextPartNumberMarker>"
    inside = f"<IsTruncated>{str(more).lower()}</IsTruncated>{following}{listed}"
    body = f'<GetObjectAttributesResponse xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ObjectParts>{inside}'
    return web.Response(text=f"{body}</ObjectParts></GetObjectAttributesResponse>", content_type="application/xml")


Running = tuple[Bucket, Fetcher]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    bucket, application = Bucket(), web.Application()
    application.router.add_route("*", "/{path:.*}", bucket.answer)
    async with TestServer(application) as server, fetcher(tmp_path / "volume") as fetch:
        bucket.url = str(server.make_url("")).rstrip("/")
        yield bucket, fetch


def credentials(bucket: Bucket) -> Credentials:
    return Credentials(None, (bucket.url,), aws=KEYS)


async def resolve(running: Running, digest: str | None = None) -> Plan:
    bucket, fetch = running
    request = Resolve("1", REF, bucket.url, digest=digest, credentials=credentials(bucket))
    return (await Resolver(fetch.client).resolve(request)).plan


@pytest.mark.parametrize("connections", [1, 4])
async def test_the_parts_are_compared_and_the_digest_is_computed(running: Running, connections: int) -> None:
    bucket, fetch = running
    bucket.page = 2
    plan = await resolve(running)
    parts = UploadParts.of(tuple(size for _, size, _ in RIGHT), b"".join(digest for *_, digest in RIGHT))
    assert (plan.files[0].upload_parts, plan.files[0].digest) == (parts, None)
    assert [request.headers["x-amz-part-number-marker"] for request in bucket.asked] == ["0", "2"]
    assert [request.query["versionId"] for request in bucket.asked] == ["v1", "v1"]
    provided = await fetch.transfer(plan, credentials(bucket), connections)
    assert provided.files[0].digest == sha256(MODEL)
    assert fetch.content(provided) == MODEL


async def test_the_parts_reach_a_worker_as_they_are(running: Running) -> None:
    answer = ResolvedAnswer("1", await resolve(running))
    assert answer.plan.files[0].upload_parts is not None
    assert decode_answer(encode_answer(answer)) == answer


async def test_an_object_that_differs_from_a_part_is_not_published(running: Running) -> None:
    bucket, fetch = running
    plan = await resolve(running)
    bucket.content = damaged(MODEL, 2 * 1024 * 1024 + 5)
    with pytest.raises(DigestMismatch, match=r"bkt/model.gguf: part 3 of 4 of the upload \(bytes 2097152-3145727\)"):
        await fetch.transfer(plan, credentials(bucket))
    assert not [path for path in fetch.root.rglob("*.gguf") if path.is_file()]
    assert not list(fetch.root.rglob("*.part"))


def without_parts(plan: Plan) -> Plan:
    """As an object without s3:GetObjectAttributes resolves it."""
    return replace(plan, files=tuple(replace(file, upload_parts=None) for file in plan.files))


def damaged(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


async def test_a_file_that_was_fetched_without_its_parts_is_compared_before_it_is_used(running: Running) -> None:
    bucket, fetch = running
    plan = await resolve(running)
    provided = await fetch.transfer(without_parts(plan), credentials(bucket))
    assert without_parts(plan).files[0].part_key == plan.files[0].part_key, "both share one transfer"
    received = fetch.recorder.received
    again = await fetch.transfer(plan, credentials(bucket))
    assert (again.files, again.read, again.received) == (provided.files, True, 0)
    last = await fetch.transfer(plan, credentials(bucket))
    assert (last.files, last.read, last.received) == (provided.files, False, 0), "the record keeps what was compared"
    assert received == len(MODEL)


@pytest.mark.parametrize("repaired", [True, False])
async def test_a_file_with_a_wrong_part_is_not_used(running: Running, repaired: bool) -> None:
    bucket, fetch = running
    plan = await resolve(running)
    bucket.content = damaged(MODEL, 2 * 1024 * 1024 + 5)
    await fetch.transfer(without_parts(plan), credentials(bucket))
    if not repaired:
        with pytest.raises(DigestMismatch, match="part 3 of 4"):
            await fetch.transfer(plan, credentials(bucket))
        return
    bucket.content = MODEL
    assert fetch.content(await fetch.transfer(plan, credentials(bucket))) == MODEL


async def test_bytes_that_are_damaged_on_the_way_are_fetched_once_more(running: Running) -> None:
    bucket, fetch = running
    plan = await resolve(running)
    bucket.damaged = [1024 * 1024 + 5]
    provided = await fetch.transfer(plan, credentials(bucket))
    assert fetch.content(provided) == MODEL


async def test_the_transfer_ends_at_the_first_wrong_part(running: Running) -> None:
    bucket, fetch = running
    bucket.content = tiny_gguf(size=44 * 1024 * 1024)
    bucket.parts = cut(bucket.content, 4 * 1024 * 1024)
    plan = await resolve(running)
    assert plan.files[0].upload_parts is not None
    wrong = 5 * 1024 * 1024
    bucket.content = bucket.content[:wrong] + b"\xff\xfe\xfd" + bucket.content[wrong + 3 :]
    with pytest.raises(DigestMismatch, match="part 2 of 12"):
        await fetch.transfer(plan, credentials(bucket))
    assert fetch.recorder.received < len(bucket.content), "each of two attempts ends soon after the part"


async def test_a_digest_that_is_known_needs_no_parts(running: Running) -> None:
    bucket, _ = running
    assert (await resolve(running, sha256(MODEL))).files[0].upload_parts is None
    bucket.headers["x-amz-meta-sha256"] = hashlib.sha256(MODEL).hexdigest()
    assert str((await resolve(running)).files[0].digest) == sha256(MODEL)
    assert bucket.asked == []


def refusal(status: int, code: str) -> Callable[[web.Request], web.Response]:
    return lambda _: web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>")


def told(parts: list[Part], *, more: bool = False) -> Callable[[web.Request], web.Response]:
    return lambda _: parts_page(parts, more=more)


RIGHT = cut(MODEL, 1024 * 1024)
UNUSABLE: dict[str, Callable[[web.Request], web.Response]] = {
    "no right": refusal(403, "AccessDenied"),
    "not found": refusal(404, "NoSuchKey"),
    "not allowed": refusal(405, "MethodNotAllowed"),
    "not implemented": refusal(501, "NotImplemented"),
    "an unknown request": refusal(400, "InvalidRequest"),
    "no parts": told([]),
    "a part is missing": told(RIGHT[:2]),
    "a part is twice there": told([*RIGHT, RIGHT[2]]),
    "another order": told(RIGHT[::-1]),
    "another digest": told([*RIGHT[:2], (3, RIGHT[2][1], b"\0" * 32)]),
    "another size": told([*RIGHT[:2], (3, RIGHT[2][1] + 1, RIGHT[2][2])]),
    "a size that no part has": told([*RIGHT[:2], (3, 2**65, RIGHT[2][2])]),
    "no digest": told([*RIGHT[:2], (3, RIGHT[2][1], b"")]),
    "a short digest": told([*RIGHT[:2], (3, RIGHT[2][1], b"abc")]),
    "one page for ever": told(RIGHT, more=True),
    "empty pages for ever": told([], more=True),
    "too many in a page": told([(number, 1, b"\0" * 32) for number in range(1001)]),
    "a web page": lambda _: web.Response(text="<html><body>log in</body></html>", content_type="text/html"),
    "no XML": lambda _: web.Response(text="<GetObjectAttributesResponse"),
    "many names": lambda _: web.Response(
        text=f"<GetObjectAttributesResponse>{''.join(f'<a{number}/>' for number in range(50_000))}"
        "</GetObjectAttributesResponse>"
    ),
    "too many bytes": lambda _: web.Response(text=f"<GetObjectAttributesResponse>{' ' * 5_000_000}"),
}


@pytest.mark.parametrize("name", UNUSABLE)
async def test_parts_that_are_not_those_of_the_object_are_not_used(running: Running, name: str) -> None:
    bucket, fetch = running
    bucket.attributes = UNUSABLE[name]
    with traced_peak() as peak:
        plan = await resolve(running)
    assert (plan.files[0].upload_parts, plan.files[0].digest) == (None, None)
    assert len(bucket.asked) <= 20
    assert peak() < 20 * 1024**2
    assert (await fetch.transfer(plan, credentials(bucket))).files[0].digest == sha256(MODEL)


async def test_a_server_that_limits_questions_is_asked_later(running: Running) -> None:
    running[0].attributes = refusal(503, "SlowDown")
    with pytest.raises(RateLimited):
        await resolve(running)


PASSING = [
    (400, "ExpiredToken", AccessDenied),
    (400, "RequestTimeout", SourceUnavailable),
    (408, "", SourceUnavailable),
    (429, "", RateLimited),
    (500, "InternalError", SourceUnavailable),
    (502, "", SourceUnavailable),
    (504, "", SourceUnavailable),
]


@pytest.mark.parametrize(("status", "code", "kind"), PASSING)
async def test_an_error_that_may_pass_does_not_drop_the_check(
    running: Running, status: int, code: str, kind: type[ProvisionError]
) -> None:
    bucket, _ = running
    bucket.attributes = refusal(status, code)
    with pytest.raises(kind):
        await resolve(running)
    bucket.attributes = None
    assert (await resolve(running)).files[0].upload_parts is not None


async def test_an_error_of_the_server_says_what_was_asked_for(running: Running) -> None:
    running[0].attributes = refusal(500, "InternalError")
    with pytest.raises(
        SourceUnavailable, match=r"answered 500 when asked for the upload parts \(GetObjectAttributes\)"
    ):
        await resolve(running)


async def test_a_server_that_ends_the_connection_is_asked_later(running: Running) -> None:
    def end(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    running[0].attributes = end
    with pytest.raises(SourceUnavailable):
        await resolve(running)


async def test_ten_thousand_parts_take_little_memory(running: Running) -> None:
    bucket, _ = running
    bucket.parts = cut(MODEL, 315)[:10_000]
    bucket.content = MODEL[: sum(size for _, size, _ in bucket.parts)]
    assert len(bucket.parts) > 9_900
    with traced_peak() as peak:
        plan = await resolve(running)
    assert plan.files[0].upload_parts is not None
    assert plan.files[0].upload_parts.count == len(bucket.parts)
    assert len(bucket.asked) == 10
    assert peak() < 20 * 1024**2


async def test_a_plan_that_waits_keeps_some_32_bytes_a_part(running: Running) -> None:
    bucket, _ = running
    bucket.parts = cut(MODEL, 315)[:10_000]
    bucket.content = MODEL[: sum(size for _, size, _ in bucket.parts)]
    line = encode_answer(ResolvedAnswer("1", await resolve(running)))
    tracemalloc.start()
    try:
        kept = decode_answer(line)
        assert kept
        assert tracemalloc.get_traced_memory()[0] < 36 * len(bucket.parts)
    finally:
        tracemalloc.stop()


async def test_a_split_model_with_very_many_parts_is_compared_in_its_first_files(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_MAX_PARTS", 10)
    bucket, fetch = running
    ref = "s3://bkt/model-00001-of-00003.gguf"
    request = Resolve("1", ref, bucket.url, credentials=credentials(bucket))
    plan = (await Resolver(fetch.client).resolve(request)).plan
    assert [file.upload_parts is not None for file in plan.files] == [True, True, False]
    assert plan.files[0].upload_parts is not None
    assert plan.files[0].upload_parts.count == 4


async def test_more_parts_than_an_upload_has_are_not_used(running: Running) -> None:
    bucket, _ = running
    bucket.parts = cut(MODEL, 300)
    assert len(bucket.parts) > 10_000
    assert (await resolve(running)).files[0].upload_parts is None
