"""After a transfer is cancelled, no thread uses the store."""

import asyncio
import threading

import pytest

from model_provisioner.domain.store.plan import PlannedFile
from model_provisioner.transfer.store.files import PublishedFile, StoreFiles
from model_provisioner.transfer.store.store import Store
from tests.support.ggufs import tiny_gguf
from tests.transfer.bench import MODEL, NAME, Bench


async def test_the_store_is_closed_only_after_the_last_thread_has_used_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.hub.repository(NAME).add(MODEL, tiny_gguf())
    plan = await bench.resolve()
    entered, go_on = threading.Event(), threading.Event()
    steps = []

    def slowly(store: StoreFiles, file: PlannedFile) -> PublishedFile | None:
        entered.set()
        go_on.wait(30)
        steps.append("used")
        return None

    def close(store: Store) -> None:
        steps.append("closed")
        really_close(store)

    really_close = Store.close
    monkeypatch.setattr(StoreFiles, "published", slowly)
    monkeypatch.setattr(Store, "close", close)
    running = asyncio.create_task(bench.transfer(plan))
    await asyncio.to_thread(entered.wait, 30)
    running.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert steps == ["used", "closed"]
