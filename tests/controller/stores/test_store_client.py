"""Requests to a store worker: one at a time for each claim, independent of other claims."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.errors import ClaimNotMounted
from model_provisioner.domain.store.claim import Claim
from model_provisioner.worker_processes.child_process import WorkerProcess
from model_provisioner.worker_protocol.messages import Check, Checked, Request, Verified

HANGS, WELL = Claim("models", "hangs"), Claim("models", "well")


class ScriptedWorker:
    """Answers requests for `/hangs` only when the test sets `answers`, all others at once."""

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


async def test_a_volume_that_hangs_does_not_delay_another_one() -> None:
    store_worker = ScriptedWorker()
    mounted = {HANGS: Path("/hangs"), WELL: Path("/well")}
    stores = StoreClient(mounted, dict.fromkeys(mounted, cast("WorkerProcess", store_worker)), lambda *_: frozenset())
    waits = [asyncio.create_task(stores.check(HANGS, "id")) for _ in range(2)]
    await asyncio.sleep(0)
    assert (await stores.check(WELL, "id")).missing == ()
    assert store_worker.asked == ["/hangs", "/well"], "one request at a time for each volume"
    store_worker.answers.set()
    await asyncio.gather(*waits)
    assert store_worker.asked == ["/hangs", "/well", "/hangs"]


async def test_a_verification_on_a_volume_that_hangs_does_not_delay_one_on_another() -> None:
    class Reader:
        def __init__(self, answers: asyncio.Event) -> None:
            self.answers = answers

        async def call(self, request: Request, _report: object) -> Verified:
            await self.answers.wait()
            return Verified(request.id, ())

    hangs, well = asyncio.Event(), asyncio.Event()
    well.set()
    store_workers = {HANGS: cast("WorkerProcess", Reader(hangs)), WELL: cast("WorkerProcess", Reader(well))}
    stores = StoreClient({HANGS: Path("/hangs"), WELL: Path("/well")}, store_workers, lambda *_: frozenset())
    waits = asyncio.create_task(stores.verify(HANGS, "id", (), lambda _: None))
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        assert await stores.verify(WELL, "id", (), lambda _: None) == ()
    hangs.set()
    assert await waits == ()


def test_a_claim_that_is_not_mounted_is_an_error() -> None:
    with pytest.raises(ClaimNotMounted, match="claim hangs of namespace models"):
        StoreClient({}, {}, lambda *_: frozenset()).reference(HANGS, None)
