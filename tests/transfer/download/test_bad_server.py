"""What the download does with each wrong response: the bytes are right in the end, or an error says what is wrong.

The refusals of a hub and their meanings are in `tests.transfer.sources.test_resolver`, several connections in
`test_connections`, full and faulty volumes in `tests.faults`.
"""

import asyncio
import gzip
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.errors import (
    AccessDenied,
    DigestMismatch,
    NotGGUF,
    ProvisionError,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
    TransferStalled,
)
from model_provisioner.domain.network.addresses import HostPort, NetworkPolicy
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.download import engine
from model_provisioner.transfer.download.content.hashing import PrefixHasher
from model_provisioner.transfer.download.job import Job, Provided
from model_provisioner.transfer.download.requests.throttle import Limits
from model_provisioner.transfer.http.client import NetworkSettings, open_client
from model_provisioner.transfer.store.partfile import PartFile
from model_provisioner.transfer.store.store import Store
from tests.support.bad_server import (
    Answer,
    Asked,
    BadServer,
    Behaviour,
    Ending,
    chunked,
    cut,
    honest,
    refuses,
    says_range,
    sends,
    stops_at,
    whole,
)
from tests.support.ggufs import tiny_gguf
from tests.support.models import files_below
from tests.transfer.bench import HOLDER, Recorder, no_sleep, sha256

KIB = 1024
MIB = 1024 * KIB
PATH = "hf/acme/bad/file.gguf"
COMMIT = "0" * 40
SMALL = tiny_gguf()
LARGE = tiny_gguf(size=9 * MIB)  # of two ranges
FOREIGN = tiny_gguf(seed=9)
HTML = b"<!doctype html><title>Sign in</title>" * 40
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
IN_FLIGHT = 4 * MIB
"""Bytes that a reset may lose: those in the buffers of both sides."""

CLOSE, RESET, HANG = Ending.CLOSE, Ending.RESET, Ending.HANG


@dataclass
class Client:
    """One volume at `root`, and the progress that a transfer reported."""

    root: Path
    clock: Clock
    recorder: Recorder

    async def fetch(self, server: BadServer, digest: str | None = "right") -> Provided:
        wanted = Digest.parse(sha256(server.content)) if digest else None
        file = PlannedFile(PATH, len(server.content), wanted, "hf:acme/bad:file.gguf", server.url)
        settings = NetworkSettings(NetworkPolicy(allowed_hosts=(HostPort("127.0.0.1"),)))
        with Store.open(self.root, None) as store:
            plan = store.records.settle(HOLDER, Plan("hf:acme/bad", COMMIT, (file,)))
            job = Job(plan, Limits(1, None), 1, None, HOLDER.uid)
            async with open_client(settings) as client:
                return await engine.provide(job, store.files, client, self.recorder, self.clock)

    @property
    def restarts(self) -> int:
        return max((restarts for _, _, restarts in self.recorder.progress_lines), default=0)

    @property
    def published(self) -> bytes | None:
        file = self.root / PATH
        return file.read_bytes() if file.exists() else None


@pytest.fixture
def client(tmp_path: Path) -> Client:
    root = tmp_path / "volume"
    root.mkdir()
    return Client(root, Clock(sleep=no_sleep), Recorder())


# Responses after which the file arrives, each with the number of requests.

FORGIVEN: dict[str, tuple[Sequence[Behaviour], int]] = {
    "no length": ([lambda a: honest(a).saying(content_length=None).ending_by(CLOSE)], 1),
    "no ETag, no Accept-Ranges": ([lambda a: honest(a).saying(etag=None)], 1),
    "a weak ETag": ([lambda a: honest(a).saying(etag='W/"one"')], 1),
    "headers of Xet": ([lambda a: honest(a).saying(x_xet_hash="a" * 64, link='<https://x/>; rel="xet-auth"')], 1),
    "in chunks": ([chunked()], 1),
    "moved for now, relative": ([refuses("307 Temporary Redirect", location="/elsewhere.gguf")], 2),
    "moved for good": ([refuses("308 Permanent Redirect", location="/a"), refuses("301 Moved", location="/b")], 3),
    "early hints": ([lambda a: Answer("103 Early Hints\r\n\r\nHTTP/1.1 206 P", honest(a).headers, a.body)], 1),
    "reset before the header": ([lambda _: Answer("", None, ending=RESET)], 2),
    "closed before the header": ([lambda _: Answer("", None, ending=CLOSE)], 2),
    "closed within the header": ([lambda _: Answer("HTTP/1.1 206 Par", None, ending=CLOSE)], 2),
    "closed after the header": ([stops_at(0, CLOSE)], 2),
    "closed early": ([stops_at(1000, CLOSE)], 2),
    "closed early, without a length": ([lambda a: stops_at(1000, CLOSE)(a).saying(content_length=None)], 2),
    "closed within a chunk": ([chunked(missing=10)], 2),
    "no HTTP at all": ([lambda _: Answer("SSH-2.0-OpenSSH_9.2\r\n", None, ending=CLOSE)], 2),
    "a chunk of no size": ([lambda a: replace(chunked()(a), body=b"xyz\r\nabc\r\n", ending=CLOSE)], 2),
    "shorter than its range says": ([sends(lambda body: body[:-10], told=True)], 2),
    "longer than its range says": ([sends(lambda body: body + b"x" * 99, told=True)], 2),
    "gzip that nobody asked for": ([lambda a: sends(gzip.compress, told=True)(a).saying(content_encoding="gzip")], 2),
    "brotli": ([lambda a: honest(a).saying(content_encoding="br")], 2),
    "several parts": (
        [lambda a: honest(a).saying(content_range=None, content_type="multipart/byteranges; boundary=x")],
        2,
    ),
    "bad request": ([refuses("400 Bad Request")], 2),
    "timeout": ([refuses("408 Request Timeout")], 2),
    "not satisfiable, shrunk": ([refuses("416 Range Not Satisfiable", content_range="bytes */10")], 2),
    "not satisfiable, complete": ([refuses("416 Range Not Satisfiable", content_range=f"bytes */{len(SMALL)}")], 2),
    "not satisfiable, no size": ([refuses("416 Range Not Satisfiable")], 2),
    "server errors": ([refuses("500 Internal Server Error"), refuses("502 Bad Gateway")], 3),
    "a gateway that gives up": ([refuses("504 Gateway Timeout", b"<html>" + HTML)], 2),
    "not now": ([refuses("503 Service Unavailable", retry_after="2")], 2),
    "one bit is wrong, once": ([sends(lambda body: body[:-9] + bytes([body[-9] ^ 1]) + body[-8:])], 2),
    "another file of the same size, once": ([sends(lambda body: FOREIGN[: len(body)])], 2),
}


@pytest.mark.parametrize("name", FORGIVEN)
async def test_what_passes_costs_little(client: Client, name: str) -> None:
    script, requests = FORGIVEN[name]
    async with BadServer(SMALL, script).running() as server:
        await client.fetch(server)
    assert client.published == SMALL
    assert len(server.log) == requests
    assert client.restarts == ("once" in name)


def in_chunks(answer: Callable[[Asked], Answer]) -> Behaviour:
    """The same body without a length."""

    def behaviour(asked: Asked) -> Answer:
        told = answer(asked)
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces(told.body))
        return replace(told.saying(content_length=None, transfer_encoding="chunked"), body=body + b"0\r\n\r\n")

    return behaviour


def pieces(body: bytes) -> list[bytes]:
    return [body[start : start + 100_000] for start in range(0, len(body), 100_000)]


# Responses that end the download, each with its error and a part of the message.

REFUSED: dict[str, tuple[Behaviour, type[ProvisionError], str]] = {
    "redirects to itself": (refuses("302 Found", location="/file.gguf"), SourceUnavailable, "again and again"),
    "always closed at once": (lambda _: Answer("", None, ending=CLOSE), SourceUnavailable, "broke"),
    "always reset": (lambda _: Answer("", None, ending=RESET), SourceUnavailable, "broke"),
    "always encoded": (lambda a: honest(a).saying(content_encoding="gzip"), SourceUnavailable, "encoded as 'gzip'"),
    "a page to sign in": (refuses("200 OK", HTML), SourceUnavailable, rf"with {len(HTML)} bytes instead of the"),
    "a page to sign in, in chunks": (
        lambda a: in_chunks(whole)(replace(a, content=HTML)).saying(content_type="text/html; charset=utf-8"),
        SourceUnavailable,
        "with a page .text/html.",
    ),
    "a page, said to be the range": (
        sends(lambda body: (HTML * 900)[: len(body)]),
        NotGGUF,
        "file.gguf",
    ),
    "a pointer to a large file": (
        refuses("200 OK", POINTER),
        SourceUnavailable,
        rf"with {len(POINTER)} bytes instead of the {len(SMALL)}",
    ),
    "always one bit wrong": (
        sends(lambda body: body[:-9] + bytes([body[-9] ^ 1]) + body[-8:]),
        DigestMismatch,
        r"should be sha256:\w{64} and is sha256:\w{64}",
    ),
    "always another file": (sends(lambda body: FOREIGN[: len(body)]), DigestMismatch, "should be"),
    "never satisfiable": (refuses("416 Range Not Satisfiable"), SourceUnavailable, "416"),
    "unauthorized": (refuses("401 Unauthorized"), SourceNotFound, "does not exist, or is private"),
    "forbidden": (refuses("403 Forbidden", b"<Error><Code>AccessDenied</Code></Error>"), AccessDenied, "403"),
    "gone": (refuses("404 Not Found"), SourceNotFound, "does not exist"),
    "always busy": (refuses("503 Service Unavailable"), SourceUnavailable, "503"),
    "too many requests": (refuses("429 Too Many Requests", retry_after="9"), RateLimited, "429"),
    "endless header": (
        lambda a: Answer("200 OK", {f"X-{n}": "y" * 1000 for n in range(400)}, ending=CLOSE),
        SourceUnavailable,
        "broke",
    ),
}
NOT_TRIED_AGAIN = (AccessDenied, SourceNotFound, RateLimited, NotGGUF)


@pytest.mark.parametrize("name", REFUSED)
async def test_what_does_not_pass_is_named_and_nothing_is_published(client: Client, name: str) -> None:
    behaviour, error, message = REFUSED[name]
    async with BadServer(SMALL, always=behaviour).running() as server:
        with pytest.raises(error, match=message) as caught:
            await client.fetch(server)
    assert type(caught.value) is error
    assert not files_below(client.root)
    assert len(server.log) == 1 if error in NOT_TRIED_AGAIN else len(server.log) <= 18


@pytest.mark.parametrize("behaviour", [honest, whole])
async def test_a_slow_disk_lets_no_large_batch_pile_up(
    client: Client, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a batch is written, up to 2 MiB come. Hashing may hold several batches, so each of them must be small."""
    sizes: list[int] = []
    really_check = PartFile.check_writer

    def slowly(part: PartFile) -> None:
        time.sleep(0.1)
        really_check(part)

    async def offer(hasher: PrefixHasher, offset: int, chunks: Sequence[bytes], prefix_end: int) -> None:
        sizes.append(sum(map(len, chunks)))
        await really_offer(hasher, offset, chunks, prefix_end)

    def claim(hasher: PrefixHasher, offset: int, size: int) -> bool:
        sizes.append(size)
        return really_claim(hasher, offset, size)

    really_offer, really_claim = PrefixHasher.offer, PrefixHasher.claim
    monkeypatch.setattr(PartFile, "check_writer", slowly)
    monkeypatch.setattr(PrefixHasher, "offer", offer)
    monkeypatch.setattr(PrefixHasher, "claim", claim)
    async with BadServer(LARGE, always=behaviour).running() as server:
        await client.fetch(server)
    assert client.published == LARGE
    assert MIB / 2 < max(sizes) <= MIB + 64 * KIB


# Values of Content-Range. The cases are those of TestCheckContentRange in rclone.

RIGHT_RANGES = ["bytes {start}-{last}/{size}", "Bytes {start}-{last}/{size}", "bytes  {start}-{last}/{size} "]
WRONG_RANGES: dict[str, Behaviour] = {
    "only the unit": says_range("bytes"),
    "no size": says_range("bytes {start}-{last}"),
    "no last position": says_range("bytes {start}-/{size}"),
    "no first position": says_range("bytes -{last}/{size}"),
    "unknown range": says_range("bytes */{size}"),
    "another unit": says_range("items {start}-{last}/{size}"),
    "no unit": says_range("{start}-{last}/{size}"),
    "an equals sign": says_range("bytes={start}-{last}/{size}"),
    "starts later": says_range("bytes {start}-{last}/{size}", start=1),
    "ends later": says_range("bytes {start}-{last}/{size}", last=1),
    "ends earlier": says_range("bytes {start}-{last}/{size}", last=-1),
    "of a larger file": says_range("bytes {start}-{last}/{size}", size=1),
    "of a smaller file": says_range("bytes {start}-{last}/{size}", size=-1),
    "backwards": says_range("bytes {last}-{start}/{size}"),
    "negative": says_range("bytes -5-{last}/{size}"),
    "beyond all numbers": says_range("bytes {start}-{last}/" + "9" * 40),
    "in hexadecimal": says_range("bytes 0x{start}-{last}/{size}"),
    "two ranges": says_range("bytes {start}-{last}/{size}, 0-1/{size}"),
    "words after it": says_range("bytes {start}-{last}/{size} and more"),
}


@pytest.mark.parametrize("text", RIGHT_RANGES)
async def test_a_right_range_is_recognized(client: Client, text: str) -> None:
    async with BadServer(SMALL, always=says_range(text)).running() as server:
        await client.fetch(server)
    assert client.published == SMALL


@pytest.mark.parametrize("name", WRONG_RANGES)
async def test_no_byte_of_a_wrong_range_is_written(client: Client, name: str) -> None:
    async with BadServer(SMALL, always=WRONG_RANGES[name]).running() as server:
        with pytest.raises(SourceUnavailable, match=r"answered .* when asked for bytes="):
            await client.fetch(server)
        assert client.recorder.progress_lines[-1][0] == 0
        server.always = None
        await client.fetch(server)
    assert client.published == SMALL


async def test_a_server_without_ranges_is_read_in_one_stream(client: Client) -> None:
    async with BadServer(LARGE, always=whole).running() as server:
        await client.fetch(server)
    assert client.published == LARGE
    assert len(server.log) == 2


def unlabelled(answer: Callable[[Asked], Answer]) -> Behaviour:
    """A 206 that does not say which bytes it sends."""
    return lambda asked: replace(answer(asked), status="206 Partial Content").saying(content_range=None)


# Answers that bring the whole file or do not say which bytes they bring, each with the requests that it costs.

WHOLE_OR_UNLABELLED: dict[str, tuple[Behaviour, int]] = {
    "200 in chunks": (in_chunks(whole), 2),
    "200 until the connection closes": (lambda a: whole(a).saying(content_length=None).ending_by(CLOSE), 2),
    "200, a wrong length beside chunks": (lambda a: in_chunks(whole)(a).saying(content_length="12"), 2),
    "206 of the range without Content-Range": (unlabelled(honest), 2),
    "206 of the range without Content-Range, in chunks": (in_chunks(unlabelled(honest)), 2),
    "206 of the whole without Content-Range": (unlabelled(whole), 2),
    "206 of the whole without Content-Range, in chunks": (in_chunks(unlabelled(whole)), 2),
    "206 of an unknown size": (says_range("bytes {start}-{last}/*"), 2),
}


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("name", WHOLE_OR_UNLABELLED)
async def test_what_comes_as_a_whole_or_without_a_label_is_right_in_the_end(
    client: Client, name: str, content: bytes
) -> None:
    behaviour, requests = WHOLE_OR_UNLABELLED[name]
    async with BadServer(content, always=behaviour).running() as server:
        await client.fetch(server)
    assert client.published == content
    assert len(server.log) <= requests if content is LARGE else len(server.log) == 1
    assert client.restarts == 0


@pytest.mark.parametrize("name", [name for name in WHOLE_OR_UNLABELLED if name != "206 of an unknown size"])
async def test_without_a_digest_it_is_fetched_as_a_whole(client: Client, name: str) -> None:
    behaviour, requests = WHOLE_OR_UNLABELLED[name]
    async with BadServer(LARGE, always=behaviour).running() as server:
        await client.fetch(server, None)
    assert client.published == LARGE
    assert len(server.log) == requests
    assert (server.log[-1].start, server.log[-1].stop) == (0, len(LARGE))


async def test_without_a_digest_a_part_of_a_file_of_unknown_size_is_refused(client: Client) -> None:
    async with BadServer(LARGE, always=says_range("bytes {start}-{last}/*")).running() as server:
        with pytest.raises(SourceUnavailable, match=r"does not tell the size .* and no digest"):
            await client.fetch(server, None)
    assert client.recorder.progress_lines[-1][0] == 0


@pytest.mark.parametrize("name", [name for name in WHOLE_OR_UNLABELLED if name != "206 of an unknown size"])
async def test_a_broken_stream_of_a_whole_file_keeps_what_came(client: Client, name: str) -> None:
    """The stream begins at byte 0 again, and its first bytes are not written a second time."""
    behaviour, _ = WHOLE_OR_UNLABELLED[name]
    script = [behaviour, cut(behaviour, 6 * MIB), cut(behaviour, 7 * MIB)]
    async with BadServer(LARGE, script, always=behaviour).running() as server:
        await client.fetch(server)
    assert client.published == LARGE
    assert client.restarts == 0


@pytest.mark.parametrize("digest", ["right", None])
async def test_a_source_that_no_longer_serves_ranges_costs_no_byte_of_the_journal(
    client: Client, digest: str | None
) -> None:
    async with BadServer(
        LARGE, [stops_at(5 * MIB, CLOSE)], always=refuses("503 Service Unavailable")
    ).running() as server:
        with pytest.raises(SourceUnavailable):
            await client.fetch(server, digest)
        client.recorder = Recorder()
        server.always = whole
        await client.fetch(server, digest)
    assert client.published == LARGE
    assert client.recorder.progress_lines[0][0] == 5 * MIB
    assert client.restarts == 0


WRONG_SIZES: dict[str, tuple[Behaviour, str]] = {
    "more, in chunks": (in_chunks(lambda a: replace(whole(a), body=a.content + b"x")), "sends more"),
    "much more, in chunks": (in_chunks(lambda a: replace(whole(a), body=a.content * 2)), "sends more"),
    "more until the connection closes": (
        lambda a: replace(whole(a), body=a.content + b"x").saying(content_length=None).ending_by(CLOSE),
        "sends more",
    ),
    "less, in chunks": (in_chunks(lambda a: replace(whole(a), body=a.content[:-10])), "10 bytes early"),
    "less until the connection closes": (
        lambda a: replace(whole(a), body=a.content[:-10]).saying(content_length=None).ending_by(CLOSE),
        "10 bytes early",
    ),
    "more, and it says so": (
        lambda a: replace(whole(a), body=a.content + b"x").saying(content_length=str(len(a.content) + 1)),
        "instead of the",
    ),
    "less, and it says so": (
        lambda a: replace(whole(a), body=a.content[1:]).saying(content_length=str(len(a.content) - 1)),
        "instead of the",
    ),
    "another part without a label": (
        unlabelled(lambda a: replace(honest(a), body=a.body[1:]).saying(content_length=str(len(a.body) - 1))),
        "without Content-Range",
    ),
}


@pytest.mark.parametrize("digest", ["right", None])
@pytest.mark.parametrize("name", WRONG_SIZES)
async def test_a_stream_of_another_size_is_named_and_not_published(
    client: Client, name: str, digest: str | None
) -> None:
    behaviour, message = WRONG_SIZES[name]
    async with BadServer(LARGE, always=behaviour).running() as server:
        with pytest.raises(SourceUnavailable, match=message):
            await client.fetch(server, digest)
    assert not files_below(client.root)
    assert len(server.log) <= 8


async def test_a_server_that_refuses_to_send_the_whole_is_never_asked_for_it(client: Client) -> None:
    def bounded(asked: Asked) -> Answer:
        return honest(asked) if asked.ranged else refuses("400 Bad Request")(asked)

    async with BadServer(LARGE, always=bounded).running() as server:
        await client.fetch(server)
    assert client.published == LARGE
    assert [(asked.start, asked.stop) for asked in server.log] == [(0, 8 * MIB), (8 * MIB, len(LARGE))]


def version(content: bytes, etag: str | None, changed: str | None = None) -> Behaviour:
    return lambda asked: honest(replace(asked, content=content)).saying(etag=etag, last_modified=changed)


OTHER = tiny_gguf(size=9 * MIB, seed=3)


@pytest.mark.parametrize("digest", ["right", None])
async def test_two_versions_are_never_mixed(client: Client, digest: str | None) -> None:
    """The first range is of the old version. Without a digest the ETag shows the change at once."""
    script = [version(OTHER, '"old"'), version(LARGE, '"new"')]
    async with BadServer(LARGE, script, always=version(LARGE, '"new"')).running() as server:
        await client.fetch(server, digest)
    assert client.published == LARGE
    assert client.restarts == 1


LAST_YEAR, THIS_YEAR = "Wed, 21 Oct 2025 07:28:00 GMT", "Thu, 22 Oct 2026 07:28:00 GMT"


async def test_without_digest_and_etag_the_time_of_the_change_tells(client: Client) -> None:
    old, new = [version(content, None, time) for content, time in ((OTHER, LAST_YEAR), (LARGE, THIS_YEAR))]
    async with BadServer(LARGE, [old], always=new).running() as server:
        await client.fetch(server, None)
    assert client.published == LARGE
    assert client.restarts == 1


async def test_without_a_digest_a_file_that_changes_again_and_again_is_given_up(client: Client) -> None:
    """Also the stream that begins after the first change is broken, and goes on with another version."""
    versions = [cut(version(LARGE, f'"{number}"'), 8 * MIB - number * 1000) for number in range(20)]
    async with BadServer(LARGE, versions).running() as server:
        with pytest.raises(SourceUnavailable, match="changes while it is fetched"):
            await client.fetch(server, None)
    assert not files_below(client.root)
    assert len(server.log) <= 8


def edge(number: int) -> Behaviour:
    return version(LARGE, f'"edge-{number}"', (LAST_YEAR, THIS_YEAR)[number % 2])


async def test_without_a_digest_edges_with_tags_of_their_own_are_read_in_one_stream(client: Client) -> None:
    """Twice the tags differ from range to range; then one answer brings all."""
    edges = [edge(number) for number in range(20)]
    async with BadServer(LARGE, edges).running() as server:
        await client.fetch(server, None)
    assert client.published == LARGE
    assert client.restarts == 2
    assert [(asked.start, asked.stop) for asked in server.log][4:] == [(0, len(LARGE))]


async def test_edges_with_tags_of_their_own_cost_nothing_with_a_digest(client: Client) -> None:
    """Each answer has another ETag and another Last-Modified, also those after broken connections and a restart."""
    breaks = [cut(edge(number), offset) for number, offset in enumerate((MIB, 3 * MIB, 5 * MIB, 7 * MIB))]
    down = [refuses("503 Service Unavailable")] * 3
    async with BadServer(LARGE, [*breaks, *down, *map(edge, range(5, 20))]).running() as server:
        with pytest.raises(SourceUnavailable):
            await client.fetch(server)
        await client.fetch(server)
    assert client.published == LARGE
    assert client.restarts == 0
    assert server.sent == len(LARGE)


async def test_edges_with_tags_of_their_own_cost_nothing_in_the_refetch(client: Client) -> None:
    damaged = sends(lambda body: body[:-9] + bytes([body[-9] ^ 1]) + body[-8:])
    async with BadServer(LARGE, [damaged]).running() as server:
        server.script = [damaged, *map(edge, range(1, 20))]
        await client.fetch(server)
    assert client.published == LARGE
    assert client.restarts == 1
    assert server.sent == 2 * len(LARGE)


async def test_a_changed_size_is_an_error_although_the_digest_is_known(client: Client) -> None:
    grown = says_range("bytes {start}-{last}/{size}", size=1)
    async with BadServer(LARGE, [honest], always=grown).running() as server:
        with pytest.raises(SourceUnavailable, match="has changed there"):
            await client.fetch(server)
        server.always = None
        await client.fetch(server)
    assert client.published == LARGE
    assert client.restarts == 0


async def test_without_an_etag_the_digest_tells(client: Client) -> None:
    async with BadServer(LARGE, [version(OTHER, None)], always=version(LARGE, None)).running() as server:
        await client.fetch(server)
    assert client.published == LARGE


def fast_clock(factor: float) -> Clock:
    """A clock that runs `factor` times as fast as real time."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / factor)

    return Clock(monotonic=lambda: time.monotonic() * factor, sleep=sleep, random=lambda: 0.0)


SILENT: dict[str, Behaviour] = {
    "no answer": lambda _: Answer("", None, ending=HANG),
    "half a header": lambda _: Answer("HTTP/1.1 206 Par", None, ending=HANG),
    "a header and nothing more": stops_at(0, HANG),
    "half of the body": stops_at(len(SMALL) // 2, HANG),
    "a byte now and then": lambda a: replace(honest(a), piece=1, pause=0.05),
}


UNANSWERED = ("no answer", "half a header", "a header and nothing more", "half of the body")
"""The last request brings no byte: also after half of the body, because the next one begins there."""


@pytest.mark.parametrize("name", SILENT)
async def test_silence_ends(client: Client, name: str) -> None:
    client.clock = fast_clock(60)
    message = "did not begin to answer within 90 seconds" if name in UNANSWERED else "30 seconds of silence"
    async with BadServer(SMALL, always=SILENT[name]).running() as server:
        with pytest.raises(TransferStalled, match=message):
            await client.fetch(server)
        server.always = None
        await client.fetch(server)
    assert client.published == SMALL


LATE: dict[str, Behaviour] = {
    "no header": lambda a: replace(honest(a), delay=40 / 20),
    "a header and no body": lambda a: replace(honest(a), body_delay=40 / 20),
}


@pytest.mark.parametrize("name", LATE)
async def test_a_first_byte_after_40_seconds_is_waited_for(client: Client, name: str) -> None:
    client.clock = fast_clock(20)
    async with BadServer(LARGE, always=LATE[name]).running() as server:
        await client.fetch(server)
    assert client.published == LARGE
    assert len(server.log) == 2
    told = client.recorder.waits
    assert {(wait.origin, wait.begun) for wait in told} == {(server.url.removesuffix("/file.gguf"), False)}
    assert max(wait.seconds for wait in told) >= 30


async def test_silence_in_the_middle_is_told_as_such(client: Client) -> None:
    client.clock = fast_clock(20)
    async with BadServer(SMALL, [stops_at(len(SMALL) // 2, HANG)]).running() as server:
        await client.fetch(server)
    assert {wait.begun for wait in client.recorder.waits} == {True}
    assert max(wait.seconds for wait in client.recorder.waits) <= 30


async def test_what_is_slow_but_steady_is_waited_for(client: Client) -> None:
    """3 KiB a second. On this clock the whole file takes longer than a stalled connection is kept."""
    client.clock = fast_clock(20)
    content = tiny_gguf(size=150 * KIB)
    async with BadServer(content, always=lambda a: replace(honest(a), piece=6 * KIB, pause=1 / 10)).running() as server:
        began = client.clock.monotonic()
        await client.fetch(server)
    assert client.clock.monotonic() - began > 45
    assert len(server.log) == 1


WAITS: dict[str, tuple[dict[str, str], float]] = {
    "seconds": ({"retry_after": "7"}, 7.0),
    "a date long ago": ({"retry_after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    "nonsense": ({"retry_after": "soon"}, 0.0),
    "absent": ({}, 0.0),
    "the hub's limit, nothing left": ({"ratelimit": '"resolvers";r=0;t=9'}, 9.0),
    "the hub's limit, some left": ({"ratelimit": '"resolvers";r=500;t=29'}, 0.0),
}


@pytest.mark.parametrize("name", WAITS)
async def test_a_server_is_given_the_time_that_it_asks_for(client: Client, name: str) -> None:
    headers, least = WAITS[name]
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0.01 if seconds == 1.0 else 0)

    client.clock = Clock(sleep=sleep)
    async with BadServer(SMALL, [refuses("503 Service Unavailable", b"", **headers)]).running() as server:
        await client.fetch(server)
    assert max(seconds for seconds in slept if seconds != 1.0) >= least
    assert max(slept) < 30


@pytest.mark.parametrize("status", ["503 Service Unavailable", "429 Too Many Requests"])
async def test_a_wait_of_days_is_told_upward_and_not_waited_out_here(client: Client, status: str) -> None:
    async with BadServer(SMALL, always=refuses(status, retry_after="99999999")).running() as server:
        with pytest.raises((SourceUnavailable, RateLimited)) as caught:
            await client.fetch(server)
    assert caught.value.retry_after == 99999999
    assert len(server.log) == 1


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_wrong_by_an_hour_does_no_harm(client: Client, hours: int) -> None:
    client.clock = Clock(wall=lambda: time.time() + 3600 * hours, sleep=no_sleep)
    async with BadServer(LARGE, [stops_at(MIB, CLOSE)]).running() as server:
        await client.fetch(server)
    assert client.published == LARGE
    assert server.sent == len(LARGE)


# Offsets at which the connection breaks: each place where a buffer, a range or the header begins or ends.

BOUNDARIES = sorted(
    {
        *(0, 1, 3, 4, 7, 8, 15, 16, 23, 24, 25, 31, 32, 63, 64, 100, 1000),  # the GGUF header
        *(edge + step for edge in (16 * KIB, 64 * KIB, 128 * KIB, 256 * KIB, 512 * KIB) for step in (-1, 0, 1)),
        *(edge + step for edge in (MIB, 2 * MIB, 4 * MIB, 8 * MIB) for step in (-1, 0, 1)),
        *(len(LARGE) - step for step in (4096, 1000, 2, 1)),
    }
)


@pytest.mark.parametrize("ending", [CLOSE, RESET])
@pytest.mark.parametrize("offset", BOUNDARIES)
async def test_a_break_anywhere_costs_at_most_what_was_on_its_way(client: Client, offset: int, ending: Ending) -> None:
    async with BadServer(LARGE, [stops_at(offset, ending)] * (1 if offset < 8 * MIB else 2)).running() as server:
        await client.fetch(server)
    assert client.published == LARGE
    assert client.restarts == 0
    assert server.sent - len(LARGE) <= (0 if ending is CLOSE else IN_FLIGHT)


def test_there_are_at_least_forty_boundaries() -> None:
    assert len(BOUNDARIES) >= 40
