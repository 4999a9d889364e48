"""Models in tar archives of a registry: found by their headers, fetched in ranges, verified with all of the archive."""

import gzip
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from model_provisioner.domain.archives.tar_header import BLOCK
from model_provisioner.domain.errors import (
    AmbiguousModel,
    DigestMismatch,
    NotGGUF,
    ProvisionError,
    SourceUnavailable,
    UnsupportedSource,
)
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Archive
from model_provisioner.transfer.sources import archives
from tests.support import registry, tars
from tests.support.ggufs import tiny_gguf, write_split
from tests.support.registry import FILEPATH, GGUF, Document, Pusher, descriptor
from tests.support.tars import archive, entry, header
from tests.transfer.sources.token_registry import TokenRegistry
from tests.transfer.sources.web import Fetcher, FileServer, sha256

MODEL, OTHER = tiny_gguf(), tiny_gguf(seed=1)
LARGE = 96 * 1024 * 1024  # bytes that come over several connections
MODELPACK = "application/vnd.cncf.model.weight.v1.tar"
KITOPS, KITOPS_PART = (f"application/vnd.kitops.modelkit.{kind}.v1.tar" for kind in ("model", "modelpart"))
DOCKER = "application/vnd.docker.ai.dir.tar"
README = ("README.md", b"# Tiny\n" * 100)


def ref_of(pusher: Pusher, end: str = ":v1") -> str:
    return f"oci://{pusher.url.removeprefix('http://')}/{pusher.repository}{end}"


def at(origin: TokenRegistry, end: str = ":v1") -> str:
    return f"oci://{origin.host}/team/tiny{end}"


SHAPES = {
    "ModelPack": (MODELPACK, {FILEPATH: "weights/tiny.gguf"}, "weights/tiny.gguf"),
    "ModelPack, a directory": (MODELPACK, {FILEPATH: "weights"}, "tiny.Q4_0.gguf"),
    "KitOps": (KITOPS, {}, "tiny.Q4_0.gguf"),
    "KitOps, a part": (KITOPS_PART, {FILEPATH: "./tiny.gguf"}, "tiny.gguf"),
    "Docker Model Runner, a directory": (DOCKER, {}, "tiny.Q4_0.gguf"),
}


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_model_in_an_archive_is_fetched_alone(pusher: Pusher, fetch: Fetcher, shape: str, format_: int) -> None:
    media_type, annotations, name = SHAPES[shape]
    packed = tars.tar(("w/", b""), ("w/README.md", b"# x"), ("w/tiny.Q4_0.gguf", MODEL), README, format=format_)
    digest = pusher.artifact("v1", [pusher.blob(packed, media_type, **annotations)])
    plan = await fetch.resolve(ref_of(pusher))
    (file,) = plan.files
    assert plan.revision == digest
    assert file.path == f"oci/{pusher.url.removeprefix('http://').replace(':', '+')}/team/tiny/v1/{name}"
    assert (file.size, file.digest, file.archive and str(file.archive.digest)) == (len(MODEL), None, sha256(packed))
    provided = await fetch.transfer(plan)
    assert fetch.content(provided) == MODEL
    assert provided.files[0].digest == sha256(MODEL)


async def test_a_large_archive_is_fetched_over_several_connections_and_no_byte_twice(
    origin: TokenRegistry, fetch: Fetcher
) -> None:
    large = tiny_gguf(size=LARGE)
    packed = tars.tar(README, ("tiny.gguf", large))
    origin.add("v1", packed, MODELPACK)
    plan = await fetch.resolve(at(origin))
    looked_at, origin.files[sha256(packed)].sent = origin.files[sha256(packed)].sent, 0
    provided = await fetch.transfer(plan, connections=8)
    assert fetch.content(provided) == large
    assert looked_at <= 32 * 1024
    before = packed.index(large[:4096])
    assert origin.files[sha256(packed)].sent == provided.received == before + len(large), "the zeros after it are known"


async def test_an_archive_that_was_shown_otherwise_is_not_published(origin: TokenRegistry, fetch: Fetcher) -> None:
    """The headers that a plan is made from may be a lie, of which the digest of the archive says nothing."""
    nested = tars.tar(("tiny.gguf", MODEL))
    packed = tars.tar(("other.gguf", nested.ljust(20 * BLOCK, b"\0")))
    origin.add("v1", packed, MODELPACK)
    plan = await fetch.resolve(at(origin))
    (file,) = plan.files
    for compressed in (False, True):
        content = gzip.compress(packed) if compressed else packed
        origin.files[sha256(content)] = FileServer(content)
        inner = Archive(Digest.parse(sha256(content)), len(content), packed.index(MODEL), compressed)
        lied = replace(plan, files=(replace(file, size=len(MODEL), archive=inner),))
        with pytest.raises(SourceUnavailable, match="is not the one that the source showed before"):
            await fetch.transfer(lied)
    assert not list(fetch.root.rglob("*.gguf"))


async def test_what_is_after_the_model_is_verified_too(origin: TokenRegistry, fetch: Fetcher) -> None:
    packed = tars.tar(("tiny.gguf", MODEL), README)
    origin.add("v1", packed, MODELPACK)
    plan = await fetch.resolve(at(origin))
    served = origin.files[sha256(packed)]
    served.content = packed.replace(b"# Tiny", b"# Evil")
    with pytest.raises(DigestMismatch, match=f"the archive of oci:.* should be {sha256(packed)} and is "):
        await fetch.transfer(plan)
    assert not list(fetch.root.rglob("*.gguf"))
    served.content = packed
    assert fetch.content(await fetch.transfer(plan)) == MODEL


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("what", ["model", "header"])
async def test_an_archive_of_another_digest_is_never_published(
    origin: TokenRegistry, fetch: Fetcher, what: str, ranges: bool
) -> None:
    packed = tars.tar(README, ("tiny.gguf", MODEL))
    origin.add("v1", packed, MODELPACK)
    plan = await fetch.resolve(at(origin))
    changed = bytearray(packed)
    changed[{"model": packed.index(MODEL) + len(MODEL) - 1, "header": 100}[what]] ^= 1
    served = origin.files[sha256(packed)]
    served.content, served.ranges = bytes(changed), ranges
    kind, says = {"model": (DigestMismatch, "push it again"), "header": (SourceUnavailable, "not the one that")}[what]
    with pytest.raises(kind, match=says):
        await fetch.transfer(plan)
    assert not list(fetch.root.rglob("*.gguf"))


async def test_a_registry_that_damages_an_archive_does_not_get_it_published(
    pusher: Pusher, fetch: Fetcher, tmp_path: Path
) -> None:
    packed = tars.tar(README, ("tiny.gguf", MODEL))
    pusher.artifact("v1", [pusher.blob(packed, MODELPACK)])
    plan = await fetch.resolve(ref_of(pusher))
    digest = sha256(packed).removeprefix("sha256:")
    stored = tmp_path / f"registry/docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data"
    damaged = bytearray(packed)
    damaged[packed.index(MODEL) + len(MODEL) - 1] ^= 1
    stored.write_bytes(damaged)
    with pytest.raises(DigestMismatch, match=f"should be {sha256(packed)} and is {sha256(bytes(damaged))}"):
        await fetch.transfer(plan)
    assert not list(fetch.root.rglob("*.gguf"))


async def test_a_registry_without_ranges_is_read_in_one_stream(origin: TokenRegistry, fetch: Fetcher) -> None:
    large = tiny_gguf(size=LARGE)
    packed = tars.tar(README, ("tiny.gguf", large))
    origin.add("v1", packed, MODELPACK)
    origin.files[sha256(packed)].ranges = False
    assert fetch.content(await fetch.fetch(at(origin), connections=4)) == large


async def test_without_ranges_only_an_archive_with_one_large_file_is_read(
    origin: TokenRegistry, fetch: Fetcher
) -> None:
    big = tiny_gguf(size=2 * 1024 * 1024)
    packed = tars.tar(("tiny.gguf", big), README, ("z.bin", b"x" * 100_000))
    origin.add("v1", packed, MODELPACK)
    origin.files[sha256(packed)].ranges = False
    with pytest.raises(UnsupportedSource, match="without ranges, and has more than one large file"):
        await fetch.resolve(at(origin))


async def test_bytes_before_a_model_may_be_many_and_come_in_pieces(origin: TokenRegistry, fetch: Fetcher) -> None:
    packed = tars.tar(("mmproj-F16.gguf", tiny_gguf(size=3 * 1024 * 1024, seed=3)), ("tiny.gguf", MODEL))
    origin.add("v1", packed, KITOPS)
    plan = await fetch.resolve(at(origin))
    assert plan.files[0].path.endswith("/tiny.gguf")
    served = origin.files[sha256(packed)]
    served.before[len(served.log) + 1] = (503, {}, b"")
    assert fetch.content(await fetch.transfer(plan)) == MODEL


@pytest.mark.parametrize("place", ["before", "after"])
async def test_a_connection_that_is_cut_around_a_model_goes_on_where_it_ended(
    origin: TokenRegistry, fetch: Fetcher, place: str
) -> None:
    """Each answer has half of what was asked for."""
    around = ("around.bin", bytes(range(256)) * 8192)
    packed = tars.tar(*([around] if place == "before" else []), ("tiny.gguf", MODEL), *([around] * (place == "after")))
    origin.add("v1", packed, MODELPACK)
    plan = await fetch.resolve(at(origin))
    origin.files[sha256(packed)] = served = Halves(packed)
    assert fetch.content(await fetch.transfer(plan)) == MODEL
    assert served.cut >= 4


class Halves(FileServer):
    """Ends the connection after half of each range of more than 64 KiB."""

    cut = 0

    async def _send(
        self, request: web.Request, status: int, headers: Mapping[str, str], body: bytes
    ) -> web.StreamResponse:
        if len(body) <= 64 * 1024:
            return await super()._send(request, status, headers, body)
        self.cut += 1
        response = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        assert request.transport
        request.transport.close()
        return response


async def test_the_parts_of_a_model_may_be_in_archives_of_their_own(
    pusher: Pusher, fetch: Fetcher, tmp_path: Path
) -> None:
    parts = [path.read_bytes() for path in write_split(tmp_path, "big")]
    names = [f"big-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    packed = [tars.tar((f"w/{name}", part)) for name, part in zip(names, parts, strict=True)]
    pusher.artifact(
        "v1", [pusher.blob(one, KITOPS if not number else KITOPS_PART) for number, one in enumerate(packed)]
    )
    pusher.artifact("v2", [pusher.blob(tars.tar(*zip(names, parts, strict=True)), KITOPS)])
    for end in (":v1", ":v2"):
        provided = await fetch.fetch(ref_of(pusher, end))
        assert [fetch.content(provided, number) for number in range(3)] == parts


async def test_a_layer_that_is_a_file_comes_before_archives(pusher: Pusher, fetch: Fetcher) -> None:
    layers = [pusher.blob(tars.tar(("a.gguf", OTHER)), MODELPACK), pusher.blob(MODEL, GGUF)]
    pusher.artifact("v1", layers)
    assert fetch.content(await fetch.fetch(ref_of(pusher))) == MODEL


async def test_the_digest_of_the_user_is_that_of_the_file(pusher: Pusher, fetch: Fetcher) -> None:
    packed = tars.tar(("tiny.gguf", MODEL))
    pusher.artifact("v1", [pusher.blob(packed, MODELPACK)])
    plan = await fetch.resolve(ref_of(pusher), digest=sha256(packed))
    with pytest.raises(DigestMismatch, match=r"tiny\.gguf should be"):
        await fetch.transfer(plan)
    assert fetch.content(await fetch.fetch(ref_of(pusher), digest=sha256(MODEL))) == MODEL


async def test_a_file_that_was_verified_is_not_fetched_again(origin: TokenRegistry, fetch: Fetcher) -> None:
    packed = tars.tar(("tiny.gguf", MODEL))
    origin.add("v1", packed, MODELPACK)
    plan = await fetch.resolve(at(origin))
    await fetch.transfer(plan)
    origin.files[sha256(packed)].sent = 0
    again = await fetch.transfer(plan)
    assert (again.files[0].digest, again.read, origin.files[sha256(packed)].sent) == (sha256(MODEL), False, 0)


async def test_an_index_leads_to_the_artifact_with_an_archive(origin: TokenRegistry, fetch: Fetcher) -> None:
    model = origin.add("model", tars.tar(("tiny.gguf", MODEL)), MODELPACK)
    image = origin.put("image", [descriptor(b"x", "application/vnd.oci.image.layer.v1.tar+gzip")])
    children: list[Document] = [{"mediaType": registry.MANIFEST, "digest": one, "size": 1} for one in (image, model)]
    origin.put_raw("v1", registry.index(children))
    assert fetch.content(await fetch.fetch(at(origin))) == MODEL


HUGE = header(b"first.Q8_0.gguf", b"\x80" + (3 * 1024**3).to_bytes(11, "big"))
REFUSED: dict[str, tuple[bytes, type[ProvisionError], str]] = {
    "no archive": (MODEL, UnsupportedSource, r"an archive of oci://.* \(sha256:.*no tar archive: push the .gguf"),
    "empty": (b"", UnsupportedSource, "is too short for one"),
    "no file": (archive(), UnsupportedSource, "has no GGUF file in its archives: name"),
    "no model": (tars.tar(README), UnsupportedSource, "has no GGUF file in its archives: name"),
    "a link": (archive(entry(b"a.gguf", kind=b"2")), UnsupportedSource, r"archives \('a.gguf' is a symbolic link\)"),
    "two models": (tars.tar(("a.gguf", MODEL), ("b.gguf", OTHER)), AmbiguousModel, "2 models, 'a.gguf', 'b.gguf'"),
    "one name twice": (
        tars.tar(("a.gguf", MODEL), ("x/a.gguf", OTHER)),
        UnsupportedSource,
        "several GGUF files of one",
    ),
    "a control character": (tars.tar(("a\x01.gguf", MODEL)), UnsupportedSource, "control character"),
    "an invisible name": (tars.tar(("a\u202eb.gguf", MODEL)), UnsupportedSource, "invisible"),
    "a name that is none": (archive(entry(b"\xff.gguf", MODEL)), UnsupportedSource, "backslash"),
    "a long name": (tars.tar(("a" * 300 + ".gguf", MODEL)), UnsupportedSource, "longer than"),
    "cut": (tars.tar(("a.gguf", MODEL))[:2048], UnsupportedSource, "ends too early"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_an_archive_that_is_no_model_says_why(origin: TokenRegistry, fetch: Fetcher, case: str) -> None:
    packed, kind, says = REFUSED[case]
    origin.add("v1", packed, MODELPACK)
    with pytest.raises(kind, match=says) as caught:
        await fetch.resolve(at(origin))
    assert caught.value.message.isprintable()


async def test_the_archives_of_an_artifact_take_a_bounded_number_of_requests(
    origin: TokenRegistry, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them alone is within bounds. Its entries are so large that each header takes a request."""
    monkeypatch.setattr(archives, "_MAX_REQUESTS", 20)
    others = [(f"{number}.bin", bytes(20 * 1024)) for number in range(8)]
    packed = [tars.tar(*others, (name, MODEL)) for name in ("tiny.gguf", "README.md", "LICENSE")]
    for one in packed:
        origin.files[sha256(one)] = FileServer(one)
    for tag, number in (("two", 2), ("three", 3)):
        origin.put(tag, [descriptor(one, MODELPACK) for one in packed[:number]])
    assert (await fetch.resolve(at(origin, ":two"))).files[0].path.endswith("/tiny.gguf")
    for one in packed:
        origin.files[sha256(one)].log.clear()
    with pytest.raises(UnsupportedSource, match=r"so many entries in its archives that 20 requests do not show all: p"):
        await fetch.resolve(at(origin, ":three"))
    assert sum(len(origin.files[sha256(one)].log) for one in packed) == 20


@pytest.mark.parametrize("name", ["../../../etc/x.gguf", "/etc/x.gguf", "./././x.gguf"])
async def test_a_name_in_an_archive_is_never_a_path(origin: TokenRegistry, fetch: Fetcher, name: str) -> None:
    origin.add("v1", tars.tar((name, MODEL)), MODELPACK)
    provided = await fetch.fetch(at(origin))
    assert provided.files[0].path.endswith("/team/tiny/v1/x.gguf")
    assert fetch.content(provided) == MODEL


async def test_a_file_that_is_no_gguf_is_named(origin: TokenRegistry, fetch: Fetcher) -> None:
    origin.add("v1", tars.tar(("a.gguf", b"<html>" * 9999)), MODELPACK)
    with pytest.raises(NotGGUF, match=r"a\.gguf"):
        await fetch.fetch(at(origin))


async def test_more_than_2_gib_beside_the_model_are_not_fetched(origin: TokenRegistry, fetch: Fetcher) -> None:
    """The registry says that the layer is that large, and has its beginning only."""
    end = archive(entry(b"a.Q4_K_M.gguf", MODEL))
    layer: Document = {**descriptor(b"x", MODELPACK), "size": BLOCK + 3 * 1024**3 + len(end)}
    origin.put("v1", [layer])
    origin.files[str(layer["digest"])] = Sparse(HUGE, BLOCK + 3 * 1024**3 + len(end), end)
    with pytest.raises(UnsupportedSource, match=r"has 3\.0 GiB beside 'a\.Q4_K_M\.gguf', and 2 GiB are fetched"):
        await fetch.resolve(at(origin))


async def test_a_projector_beside_a_model_does_not_count_what_the_model_has(
    origin: TokenRegistry, fetch: Fetcher
) -> None:
    end = archive(entry(b"mmproj-F16.gguf", MODEL))
    size = BLOCK + 3 * 1024**3 + len(end)
    layer: Document = {**descriptor(b"x", MODELPACK), "size": size}
    origin.put("v1", [layer])
    origin.files[str(layer["digest"])] = Sparse(HUGE, size, end)
    (file,) = (await fetch.resolve(at(origin))).files
    assert (file.path.rpartition("/")[2], file.size) == ("first.Q8_0.gguf", 3 * 1024**3)


class Sparse(FileServer):
    """A file of zeros, but for its beginning and its end."""

    def __init__(self, begin: bytes, size: int, end: bytes) -> None:
        super().__init__(b"")
        self.begin, self.size, self.end = begin, size, end

    async def answer(self, request: web.Request) -> web.StreamResponse:
        start, last = map(int, request.headers["Range"].removeprefix("bytes=").split("-"))
        body = bytearray(last + 1 - start)
        for offset, piece in ((0, self.begin), (self.size - len(self.end), self.end)):
            for number, byte in enumerate(piece, offset - start):
                if 0 <= number < len(body):
                    body[number] = byte
        headers = {"Content-Range": f"bytes {start}-{last}/{self.size}"}
        return web.Response(status=206, body=bytes(body), headers=headers)


@pytest.mark.parametrize("answer", [(200, b""), (206, b""), (200, b"<html>"), (416, b""), (500, b""), (404, b"")])
async def test_a_wrong_answer_to_a_range_is_named(
    origin: TokenRegistry, fetch: Fetcher, answer: tuple[int, bytes]
) -> None:
    origin.add("v1", tars.tar(("a.gguf", MODEL)), MODELPACK)
    origin.scripted["blobs"] = (answer[0], {}, answer[1])
    with pytest.raises(ProvisionError) as caught:
        await fetch.resolve(at(origin))
    assert caught.value.reason in {"SourceUnavailable", "SourceNotFound"}


async def test_a_layer_that_a_proxy_encodes_is_not_taken_for_a_damaged_archive(
    origin: TokenRegistry, fetch: Fetcher
) -> None:
    """It passes with the proxy, so it is tried again; an archive that is damaged is refused for good."""
    packed = tars.tar(("a.gguf", MODEL))
    origin.add("v1", packed, MODELPACK)
    origin.files[sha256(packed)].content = gzip.compress(packed).ljust(len(packed), b"\0")
    origin.files[sha256(packed)].headers = {"Content-Encoding": "gzip"}
    with pytest.raises(SourceUnavailable, match="encoded as 'gzip': a proxy's doing"):
        await fetch.resolve(at(origin))
