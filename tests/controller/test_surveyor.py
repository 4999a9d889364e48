"""When volumes are looked at for the metrics, and that a volume which can't be looked at has no figures."""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from model_provisioner.controller.census import Census
from model_provisioner.controller.stores import Claim, Stores
from model_provisioner.controller.surveyor import Surveyor
from model_provisioner.controller.workers import WorkerProcess
from model_provisioner.transfer.store import Store
from tests.support.models import put

CLAIM = Claim("models", "models")


class Looks:
    """A surveyor that looks when the test says so; `pauses` are the seconds that it wanted to wait."""

    def __init__(self, keeper: WorkerProcess, volume: Path) -> None:
        self.recorded: list[dict[str, Any]] = []
        self.pauses: list[float] = []
        self._begin = asyncio.Event()
        self._done = asyncio.Event()
        stores = Stores({CLAIM: volume}, keeper, lambda *_: frozenset())
        self.surveyor = Surveyor(stores, Census([CLAIM.namespace], [self]), self._sleep)

    def objects(self) -> list[dict[str, Any]]:
        return self.recorded

    def record(self, name: str, store_id: str) -> None:
        """An object whose files were recorded on that store."""
        model = {"claimName": CLAIM.name, "storeID": store_id}
        self.recorded.append({"metadata": {"uid": name, "namespace": CLAIM.namespace}, "status": {"model": model}})

    async def first(self) -> None:
        await self._done.wait()
        self._done.clear()

    async def again(self) -> None:
        self._begin.set()
        await self.first()

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._done.set()
        await self._begin.wait()
        self._begin.clear()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


@pytest.fixture
async def looks(volume: Path) -> AsyncIterator[Looks]:
    keeper = WorkerProcess([sys.executable, "-m", "model_provisioner.cli", "fetch", "--worker"])
    made = Looks(keeper, volume)
    running = asyncio.create_task(made.surveyor.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    await keeper.stop()


async def test_a_volume_without_a_store_is_left_as_it_is_and_looked_at_again_soon(looks: Looks, volume: Path) -> None:
    await looks.first()
    assert looks.surveyor.usages == {}
    assert not (volume / ".provisioner").exists()
    put(volume, "hf/acme/old/old.gguf", b"12345")
    Store.open(volume, None).close()
    await looks.again()
    assert looks.surveyor.usages[CLAIM].unheld == 5
    assert looks.pauses == [5, 300]


async def test_a_volume_that_went_away_has_no_figures_until_it_is_back(
    looks: Looks, volume: Path, tmp_path: Path
) -> None:
    await looks.first()
    with Store.open(volume, None) as store:
        looks.record("one", store.id)
    await looks.again()
    assert CLAIM in looks.surveyor.usages
    shutil.move(volume, tmp_path / "elsewhere")
    await looks.again()
    assert looks.surveyor.usages == {}
    shutil.move(tmp_path / "elsewhere", volume)
    await looks.again()
    assert CLAIM in looks.surveyor.usages
    assert looks.pauses == [5, 300, 300, 300]


async def test_while_objects_disagree_which_volume_it_is_nothing_is_told(looks: Looks, volume: Path) -> None:
    await looks.first()
    with Store.open(volume, None) as store:
        looks.record("one", store.id)
    await looks.again()
    assert CLAIM in looks.surveyor.usages
    looks.record("two", "another")
    await looks.again()
    assert looks.surveyor.usages == {}
