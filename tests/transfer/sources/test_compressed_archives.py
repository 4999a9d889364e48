"""Models in compressed archives of a registry: unpacked in one stream within bounds, and verified with all of it."""

import gzip
import random

import pytest
from aiohttp import web

from model_provisioner.domain.errors import DigestMismatch, NotGGUF, ProvisionError, UnsupportedSource
from model_provisioner.transfer.download.content import unpacking
from tests.support import tars
from tests.support.ggufs import tiny_gguf
from tests.support.registry import TITLE, Pusher
from tests.support.tars import entry, header
from tests.transfer.sources.test_archives import KITOPS, MODELPACK, README, at, ref_of
from tests.transfer.sources.token_registry import TokenRegistry
from tests.transfer.sources.web import Fetcher, FileServer, sha256

MODEL, OTHER = tiny_gguf(), tiny_gguf(seed=1)
LARGE = tiny_gguf(size=4 * 1024 * 1024)
UNPACK = "io.deis.oras.content.unpack"
GZIP, KITOPS_GZIP = f"{MODELPACK}+gzip", f"{KITOPS}+gzip"
ORAS = "application/vnd.oci.image.layer.v1.tar+gzip"


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("media_type", [GZIP, KITOPS_GZIP, ORAS])
async def test_a_model_in_gzip_is_unpacked_in_one_stream(
    origin: TokenRegistry, fetch: Fetcher, media_type: str, ranges: bool
) -> None:
    packed = gzip.compress(tars.tar(README, ("w/tiny.gguf", LARGE), ("z", b"z" * 5000)))
    origin.add("v1", packed, media_type, **({UNPACK: "true", TITLE: "w"} if media_type == ORAS else {}))
    origin.files[sha256(packed)].ranges = ranges
    plan = await fetch.resolve(at(origin))
    assert (plan.files[0].size, plan.files[0].digest) == (len(LARGE), None)
    origin.files[sha256(packed)].sent = 0
    provided = await fetch.transfer(plan, connections=8)
    assert fetch.content(provided) == LARGE
    assert provided.files[0].digest == sha256(LARGE)
    assert origin.files[sha256(packed)].sent == len(packed)


async def test_gzip_of_several_pieces_is_unpacked(pusher: Pusher, fetch: Fetcher) -> None:
    packed = tars.tar(("tiny.gguf", MODEL))
    pieces = b"".join(gzip.compress(packed[start : start + 700]) for start in range(0, len(packed), 700))
    pusher.artifact("v1", [pusher.blob(pieces, GZIP)])
    assert fetch.content(await fetch.fetch(ref_of(pusher))) == MODEL


async def test_a_stream_that_is_cut_goes_on_with_what_is_written(origin: TokenRegistry, fetch: Fetcher) -> None:
    large = tiny_gguf(size=12 * 1024 * 1024)
    packed = gzip.compress(tars.tar(("tiny.gguf", large)), 1)
    origin.add("v1", packed, GZIP)
    plan = await fetch.resolve(at(origin))
    origin.files[sha256(packed)] = cut = Cut(packed)
    assert fetch.content(await fetch.transfer(plan)) == large
    assert len(cut.log) == 2


class Cut(FileServer):
    """Ends its first answer after half of it."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.log:
            return await super().answer(request)
        self.log.append(request)
        response = web.StreamResponse(headers={"Content-Length": str(len(self.content))})
        await response.prepare(request)
        await response.write(self.content[: len(self.content) // 2])
        assert request.transport
        request.transport.close()
        return response


DAMAGED = gzip.compress(tars.tar(("a.gguf", MODEL)))


@pytest.mark.parametrize("at_", [len(DAMAGED) // 2, len(DAMAGED) - 6])
async def test_damaged_gzip_is_never_published(origin: TokenRegistry, fetch: Fetcher, at_: int) -> None:
    origin.add("v1", DAMAGED, GZIP)
    plan = await fetch.resolve(at(origin))
    changed = bytearray(DAMAGED)
    changed[at_] ^= 0xFF
    origin.files[sha256(DAMAGED)].content = bytes(changed)
    with pytest.raises((DigestMismatch, NotGGUF)):
        await fetch.transfer(plan)
    assert not list(fetch.root.rglob("*.gguf"))


def bomb(size: int, name: bytes = b"a.bin") -> bytes:
    """Gzip of an entry of `size` zeros, of which a piece is packed once and repeated."""
    zeros = gzip.compress(bytes(2**26))
    return gzip.compress(header(name, size)) + zeros * (size // 2**26)


LATE: dict[str, tuple[bytes, type[ProvisionError], str]] = {
    "another model": (
        gzip.compress(tars.tar(("a.gguf", LARGE), ("b.gguf", OTHER))),
        UnsupportedSource,
        r"has 'b\.gguf' too, and one model is read of gzip",
    ),
    "cut": (gzip.compress(tars.tar(("a.gguf", LARGE))[: 2**21]), UnsupportedSource, "ends too early"),
    "cut in gzip": (gzip.compress(tars.tar(("a.gguf", MODEL)))[:-4], UnsupportedSource, "ends too early"),
    "more after it": (gzip.compress(tars.tar(("a.gguf", MODEL))) + b"more", UnsupportedSource, "damaged, or no gzip"),
}


@pytest.mark.parametrize("case", LATE)
async def test_gzip_that_is_wrong_after_its_beginning_is_not_published(
    origin: TokenRegistry, fetch: Fetcher, case: str
) -> None:
    packed, kind, says = LATE[case]
    origin.add("v1", packed, GZIP)
    with pytest.raises(kind, match=says):
        await fetch.fetch(at(origin))
    assert not list(fetch.root.rglob("*.gguf"))


async def test_what_is_only_hashed_of_a_refused_archive_is_paced_and_counted_too(
    origin: TokenRegistry, fetch: Fetcher
) -> None:
    """It is read to its end, because a damaged archive has another reason than one that is not read."""
    rest = random.Random(1).randbytes(8 * 1024 * 1024)
    packed = gzip.compress(tars.tar(("a.gguf", LARGE), ("b.gguf", OTHER), ("c.bin", rest)), 1)
    origin.add("v1", packed, GZIP)
    with pytest.raises(UnsupportedSource, match=r"has 'b\.gguf' too"):
        await fetch.fetch(at(origin))
    assert fetch.recorder.received > len(rest)


async def test_a_bomb_is_unpacked_within_bounds(
    origin: TokenRegistry, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "MAX_AROUND", 2**26)
    origin.add("v1", gzip.compress(entry(b"a.gguf", MODEL)) + bomb(2**31), GZIP)
    with pytest.raises(UnsupportedSource, match=r"has more than 2 GiB beside the model: push the \.gguf"):
        await fetch.fetch(at(origin))
    assert fetch.recorder.received < 2**27
    assert not list(fetch.root.rglob("*.gguf"))


EARLY: dict[str, tuple[bytes, str]] = {
    "no gzip": (tars.tar(("a.gguf", MODEL)), "damaged, or no gzip"),
    "no tar": (gzip.compress(MODEL), "no tar archive"),
    "empty": (b"", "no GGUF file in its archives"),
    "no model": (gzip.compress(tars.tar(README)), "no GGUF file in its archives"),
    "two models": (gzip.compress(tars.tar(("a.gguf", b"GGUF"), ("b.gguf", b"GGUF"))), r"has 'b\.gguf' too"),
    "a bomb": (bomb(2**30), "no GGUF file at its beginning"),
    "a late model": (gzip.compress(tars.tar(("a", bytes(20 * 2**20)), ("b.gguf", MODEL))), "at its beginning"),
    "an impossible size": (gzip.compress(header(b"a.gguf", 2**32) + MODEL), "no gzip of its size can hold"),
}


@pytest.mark.parametrize("case", EARLY)
async def test_gzip_that_is_no_model_says_why(origin: TokenRegistry, fetch: Fetcher, case: str) -> None:
    packed, says = EARLY[case]
    origin.add("v1", packed, GZIP)
    with pytest.raises(UnsupportedSource, match=says):
        await fetch.resolve(at(origin))
