"""What is asked to be read again is looked after while it waits for its turn, which others may hold for hours."""

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from model_provisioner.controller.reconcile.recheck import Recheck
from model_provisioner.controller.stores.file_monitor import FileMonitor
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.errors import DigestMismatch
from model_provisioner.domain.lifecycle.snapshot import Available, Event, Lost, Snapshot, VerifyHandled, advance
from model_provisioner.domain.modeldownload import FileRecord, Model, ModelDownload
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.resource import parse
from model_provisioner.worker_protocol.messages import Checked
from tests.support.samples import MODEL, NOW

CLAIM = Claim("models", "models")


class Volume:
    """StoreClient whose files are read when the test lets it."""

    claims = (CLAIM,)

    def __init__(self, *answers: Checked) -> None:
        self.answers = [*answers]
        self.may_read = asyncio.Event()
        self.reads = 0
        self.wrongs: tuple[str, ...] = ()

    async def check(self, _claim: Claim, _id: str, _files: tuple[FileRecord, ...], _holder: str | None) -> Checked:
        return self.answers.pop(0)

    async def verify(self, *_: object) -> tuple[str, ...]:
        self.reads += 1
        await self.may_read.wait()
        return self.wrongs


class Case:
    """One Ready model whose files somebody wants to have read."""

    def __init__(self, volume: Volume, model: Model = MODEL) -> None:
        self.told: list[Event] = []
        self.model = model
        self.patrol = FileMonitor(cast("StoreClient", volume))
        self.upkeep = Recheck(cast("StoreClient", volume), self.patrol, CLAIM, model, self.told.append)

    async def is_intact(self) -> bool:
        metadata = {
            "namespace": "models",
            "name": "m",
            "uid": "u",
            "annotations": {"models.rbee.dev/verifyAt": "now"},
        }
        subject: ModelDownload = parse({"metadata": metadata, "spec": {"modelRef": "hf:a/b"}})
        return await self.upkeep.is_intact(subject, advance(Snapshot(), Available(self.model), NOW))


THERE = Checked("", ())
GONE = Checked("", (MODEL.path,))
DISPROVED = Checked("", (), (MODEL.path,), (MODEL.path,))


async def steps() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_file_that_vanishes_meanwhile_is_missing_and_not_damaged() -> None:
    case = Case(Volume(THERE, GONE))
    looking = asyncio.create_task(case.is_intact())
    await steps()
    case.patrol.notify(CLAIM, MODEL)
    assert await looking is False
    assert case.told == [Lost(f"{MODEL.path} is gone from claim models or has another size; fetching it again")]


async def test_a_false_alarm_costs_its_turn_only() -> None:
    volume = Volume(THERE, THERE, THERE)
    case = Case(volume)
    looking = asyncio.create_task(case.is_intact())
    await steps()
    case.patrol.notify(CLAIM, MODEL)
    await steps()
    assert volume.reads == 2
    volume.may_read.set()
    assert await looking is True
    assert case.told == [VerifyHandled("now")]


@pytest.mark.parametrize("after", [DISPROVED, THERE], ids=["with a record", "without a record"])
async def test_what_is_read_and_wrong_is_damaged(after: Checked) -> None:
    volume = Volume(THERE, after)
    volume.wrongs = (MODEL.path,)
    volume.may_read.set()
    case = Case(volume)
    assert await case.is_intact() is False
    (lost,) = case.told
    assert isinstance(lost, Lost)
    assert lost.reason == DigestMismatch.__name__


async def test_what_somebody_else_has_found_to_be_wrong_is_not_believed() -> None:
    case = Case(Volume(DISPROVED))
    assert await case.is_intact() is False
    assert "is not what it was when it was published" in cast("Lost", case.told[0]).message


async def test_only_who_shares_the_file_is_made_to_look() -> None:
    case = Case(Volume())
    other = replace(MODEL, path="other.gguf", files=(replace(MODEL.files[0], path="other.gguf"),))
    waits = {
        name: asyncio.create_task(case.patrol.until_notified(CLAIM, model))
        for name, model in (("shares", MODEL), ("does not", other))
    }
    await steps()
    case.patrol.notify(Claim("models", "another"), MODEL)
    await steps()
    assert not any(wait.done() for wait in waits.values())
    case.patrol.notify(CLAIM, MODEL)
    await steps()
    assert [name for name, wait in waits.items() if wait.done()] == ["shares"]
    waits["does not"].cancel()
