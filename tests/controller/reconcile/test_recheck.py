"""The check of a Ready model: while its bytes wait to be read, which may take hours, a lost file is noticed."""

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from model_provisioner.controller.reconcile.recheck import Recheck
from model_provisioner.controller.stores.file_monitor import FileMonitor
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.errors import DigestMismatch
from model_provisioner.domain.lifecycle.events import Available, Event, Lost, VerifyHandled
from model_provisioner.domain.lifecycle.snapshot import Snapshot, advance
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.resource import parse
from model_provisioner.worker_protocol.messages import Checked
from tests.support.samples import MODEL, NOW

CLAIM = Claim("models", "models")


class Volume:
    """A StoreClient that answers checks with `answers`, and reads files after the test sets `may_read`."""

    claims = (CLAIM,)

    def __init__(self, *answers: Checked) -> None:
        self.answers = [*answers]
        self.may_read = asyncio.Event()
        self.reads = 0
        self.wrong_paths: tuple[str, ...] = ()

    async def check(self, _claim: Claim, _id: str, _files: tuple[FileRecord, ...], _holder: str | None) -> Checked:
        return self.answers.pop(0)

    async def verify(self, *_: object) -> tuple[str, ...]:
        self.reads += 1
        await self.may_read.wait()
        return self.wrong_paths


class Case:
    """One Ready model with an unhandled `verifyAt`; `events` has what the check reported."""

    def __init__(self, volume: Volume, model: Model = MODEL) -> None:
        self.events: list[Event] = []
        self.model = model
        self.file_monitor = FileMonitor(cast("StoreClient", volume))
        self.recheck = Recheck(cast("StoreClient", volume), self.file_monitor, CLAIM, model, self.events.append)

    async def is_intact(self) -> bool:
        metadata = {
            "namespace": "models",
            "name": "m",
            "uid": "u",
            "annotations": {"models.rbee.dev/verifyAt": "now"},
        }
        download: ModelDownload = parse({"metadata": metadata, "spec": {"modelRef": "hf:a/b"}})
        return await self.recheck.is_intact(download, advance(Snapshot(), Available(self.model), NOW))


INTACT = Checked("", ())
GONE = Checked("", (MODEL.path,))
CORRUPT = Checked("", (), (MODEL.path,), (MODEL.path,))


async def steps() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_file_that_vanishes_meanwhile_is_missing_and_not_damaged() -> None:
    case = Case(Volume(INTACT, GONE))
    checking = asyncio.create_task(case.is_intact())
    await steps()
    case.file_monitor.notify(CLAIM, MODEL)
    assert await checking is False
    assert case.events == [Lost(f"{MODEL.path} is gone from claim models or has another size; fetching it again")]


async def test_a_false_alarm_costs_its_turn_only() -> None:
    volume = Volume(INTACT, INTACT, INTACT)
    case = Case(volume)
    checking = asyncio.create_task(case.is_intact())
    await steps()
    case.file_monitor.notify(CLAIM, MODEL)
    await steps()
    assert volume.reads == 2
    volume.may_read.set()
    assert await checking is True
    assert case.events == [VerifyHandled("now")]


@pytest.mark.parametrize("after", [CORRUPT, INTACT], ids=["with a record", "without a record"])
async def test_what_is_read_and_wrong_is_damaged(after: Checked) -> None:
    volume = Volume(INTACT, after)
    volume.wrong_paths = (MODEL.path,)
    volume.may_read.set()
    case = Case(volume)
    assert await case.is_intact() is False
    (lost,) = case.events
    assert isinstance(lost, Lost)
    assert lost.reason == DigestMismatch.__name__


async def test_a_file_that_another_object_found_to_be_wrong_is_not_intact() -> None:
    case = Case(Volume(CORRUPT))
    assert await case.is_intact() is False
    assert "is not what it was when it was published" in cast("Lost", case.events[0]).message


async def test_only_a_model_that_shares_the_file_is_notified() -> None:
    case = Case(Volume())
    other = replace(MODEL, path="other.gguf", files=(replace(MODEL.files[0], path="other.gguf"),))
    waits = {
        name: asyncio.create_task(case.file_monitor.until_notified(CLAIM, model))
        for name, model in (("shares", MODEL), ("does not", other))
    }
    await steps()
    case.file_monitor.notify(Claim("models", "another"), MODEL)
    await steps()
    assert not any(wait.done() for wait in waits.values())
    case.file_monitor.notify(CLAIM, MODEL)
    await steps()
    assert [name for name, wait in waits.items() if wait.done()] == ["shares"]
    waits["does not"].cancel()
