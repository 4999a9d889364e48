"""When the view of Ollama is written, what happens if it can't be, and what the log says of it."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from model_provisioner.controller.stores.ollama_views import OllamaViews
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.modeldownload import Model, ModelDownload, Spec, Status
from model_provisioner.domain.store.claim import Claim
from model_provisioner.transfer.store.store import Store
from tests.support.models import sample
from tests.support.programs import eventually
from tests.support.samples import MODEL
from tests.support.views import View, publish
from tests.support.worker_processes import worker_of

CLAIM = Claim("models", "models")
FILE = sample(size=1000)
PATH = "hf.co/acme/tiny/Q4_K_M"


def download(name: str, namespace: str = "models") -> ModelDownload:
    return ModelDownload(namespace, name, f"uid-{name}", 1, "1", "", False, None, Spec("hf:acme/tiny:Q4"), Status())


class Round:
    """Views of one claim, which the test lets go on. `pauses` are the seconds of each pause."""

    def __init__(self, stores: StoreClient, volume: Path, *, enabled: bool = True) -> None:
        self.view = View(volume)
        self.pauses: list[float] = []
        self.paused = asyncio.Condition()
        self.go_on = asyncio.Semaphore(0)
        self.views = OllamaViews(stores, enabled=enabled, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        if seconds == 600:
            await asyncio.Event().wait()
        async with self.paused:
            self.pauses.append(seconds)
            self.paused.notify_all()
        await self.go_on.acquire()

    async def until_pauses(self, number: int) -> list[float]:
        async with asyncio.timeout(60), self.paused:
            await self.paused.wait_for(lambda: len(self.pauses) >= number)
        return self.pauses


Made = Callable[..., Round]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Made]:
    volume = tmp_path / "volume"
    volume.mkdir()
    store_worker, running = worker_of(), list[asyncio.Task[None]]()
    stores = StoreClient({CLAIM: volume}, {CLAIM: store_worker}, lambda *_: frozenset())

    def begin(*, enabled: bool = True) -> Round:
        made = Round(stores, volume, enabled=enabled)
        running.append(asyncio.create_task(made.views.run()))
        return made

    yield begin
    for task in running:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await store_worker.stop()


def publish_on(volume: Path) -> Model:
    with Store.open(volume, None) as store:
        publish(store, volume, "tiny", FILE)
        return replace(MODEL, store_id=store.id, path=FILE.path, files=(FILE.record,))


async def test_changes_within_a_second_are_written_together(start: Made, tmp_path: Path) -> None:
    model = publish_on(tmp_path / "volume")
    made = start()
    assert await made.until_pauses(1) == [1.0]
    for name in ("tiny", "again"):
        made.views.on_listed(download(name), model)
    made.go_on.release()
    assert await made.until_pauses(2) == [1.0, 1.0]
    assert made.view.paths() == {PATH}
    made.views.on_taken("models", "tiny")
    made.views.on_taken("models", "again")
    made.views.on_taken("models", "never-listed")
    made.go_on.release()
    await made.until_pauses(3)
    assert made.view.paths() == set()


async def test_an_object_on_a_claim_that_is_not_mounted_is_nothing(start: Made, tmp_path: Path) -> None:
    model = publish_on(tmp_path / "volume")
    made = start()
    made.views.on_listed(download("tiny", namespace="other"), model)
    await made.until_pauses(1)
    assert made.view.paths() == set()


async def test_a_view_that_can_not_be_written_is_tried_again_and_said_once(
    start: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    model = publish_on(tmp_path / "volume")
    foreign = tmp_path / "volume/views/ollama/file"
    foreign.parent.mkdir(parents=True)
    foreign.touch()
    made = start()
    made.views.on_listed(download("tiny"), model)
    await made.until_pauses(1)
    made.go_on.release()
    first, second = await made.until_pauses(2)
    assert 1 < first < second
    foreign.unlink()
    made.go_on.release()
    assert (await made.until_pauses(3))[2] == 1.0
    assert made.view.paths() == {PATH}
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "models/models: the view of Ollama is not up to date: PathConflict: views/ollama on the volume was made by "
        "another program: rename it or remove it"
    ]


async def test_objects_on_different_stores_are_told_and_nothing_is_written(
    start: Made, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = publish_on(tmp_path / "volume")
    made = start()
    made.views.on_listed(download("tiny"), model)
    made.views.on_listed(download("other"), replace(model, store_id="another"))
    await made.until_pauses(1)
    assert made.view.paths() == set()
    assert "were recorded on different stores" in caplog.text


async def test_a_view_that_is_switched_off_is_removed(start: Made, tmp_path: Path) -> None:
    model = publish_on(tmp_path / "volume")
    made = start()
    made.views.on_listed(download("tiny"), model)
    await made.until_pauses(1)
    assert made.view.paths() == {PATH}
    off = start(enabled=False)
    off.views.on_listed(download("tiny"), model)
    gone = functools.partial(eventually, lambda: not (tmp_path / "volume/views").exists(), "the view is removed")
    assert await asyncio.to_thread(gone)
    assert off.pauses == []


async def test_without_a_store_nothing_is_made(start: Made, tmp_path: Path) -> None:
    await start().until_pauses(1)
    assert list((tmp_path / "volume").iterdir()) == []
