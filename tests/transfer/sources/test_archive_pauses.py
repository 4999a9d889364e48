"""Registries that ask for a pause while an archive is read: a short one is kept, for a long one the download ends."""

import gzip

import pytest

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.errors import SourceUnavailable
from tests.support import tars
from tests.support.ggufs import tiny_gguf
from tests.transfer.bench import no_sleep
from tests.transfer.sources.test_archives import MODELPACK, README, at
from tests.transfer.sources.token_registry import TokenRegistry
from tests.transfer.sources.web import Fetcher, sha256

MODEL = tiny_gguf()
SHAPES = {"in ranges": (tars.tar(README, ("a.gguf", MODEL)), MODELPACK)}
SHAPES["in one stream"] = (gzip.compress(SHAPES["in ranges"][0]), f"{MODELPACK}+gzip")


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_download_ends_for_a_pause_of_more_than_30_seconds(
    origin: TokenRegistry, fetch: Fetcher, shape: str
) -> None:
    """Its slot is free for another download then, and the pause is that of the retry."""
    packed, media_type = SHAPES[shape]
    origin.add("v1", packed, media_type)
    plan = await fetch.resolve(at(origin))
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await no_sleep(seconds)

    fetch.clock = Clock(sleep=sleep)
    server = origin.files[sha256(packed)]
    server.first += [(503, {"Retry-After": "31"}, b"")]
    with pytest.raises(SourceUnavailable) as caught:
        await fetch.transfer(plan)
    assert caught.value.retry_after == 31
    assert max(pauses, default=0) < 30
    server.first += [(503, {"Retry-After": "30"}, b"")]
    assert fetch.content(await fetch.transfer(plan)) == MODEL
    assert max(pauses) >= 30
