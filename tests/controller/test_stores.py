"""What is asked of the keeper: in turn for one claim, whatever becomes of another one."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from model_provisioner.controller.stores import Claim, Stores
from model_provisioner.controller.workers import WorkerProcess
from model_provisioner.domain.errors import ClaimNotMounted
from model_provisioner.transfer.protocol import Check, Checked, Request

HANGS, WELL = Claim("models", "hangs"), Claim("models", "well")


class Keeper:
    """Answers about every volume but one."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = asyncio.Event()

    async def call(self, request: Request, *, seconds: float) -> Checked:
        assert isinstance(request, Check)
        assert seconds <= 120
        self.asked.append(request.store.directory)
        if request.store.directory == "/hangs":
            await self.answers.wait()
        return Checked(request.id, ())


async def test_a_volume_that_hangs_keeps_nobody_elses_waiting() -> None:
    keeper = Keeper()
    mounted = {HANGS: Path("/hangs"), WELL: Path("/well")}
    stores = Stores(mounted, cast("WorkerProcess", keeper), lambda *_: frozenset())
    waits = [asyncio.create_task(stores.missing(HANGS, "id", ())) for _ in range(2)]
    await asyncio.sleep(0)
    assert await stores.missing(WELL, "id", ()) == ()
    assert keeper.asked == ["/hangs", "/well"], "of one volume one thing at a time"
    keeper.answers.set()
    await asyncio.gather(*waits)
    assert keeper.asked == ["/hangs", "/well", "/hangs"]


def test_a_claim_that_is_not_mounted_is_told() -> None:
    with pytest.raises(ClaimNotMounted, match="claim hangs of namespace models"):
        Stores({}, cast("WorkerProcess", Keeper()), lambda *_: frozenset()).reference(HANGS, None)
