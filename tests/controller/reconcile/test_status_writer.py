"""The status writer on a real API server: what it writes, what it skips, and which object it never writes to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.controller.reconcile.status_writer import Gone, StatusRefused, StatusWriter
from model_provisioner.domain.lifecycle.events import Available, Progressed, Queued, Started
from model_provisioner.domain.modeldownload import Status
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.resource import collection_path, object_path, parse
from tests.support.api_proxy import ApiProxy, status_patches
from tests.support.history import History
from tests.support.samples import MODEL, after

NEW = {
    "apiVersion": "models.rbee.dev/v1alpha1",
    "kind": "ModelDownload",
    "metadata": {"name": "one"},
    "spec": {"modelRef": "hf:a/b"},
}


class Case:
    """One object and its writer; `reasons` has the reasons that would become Events. `sleep` is the writer's."""

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        document: dict[str, Any],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.api = api
        self.path = object_path(namespace, "one")
        self.collection = collection_path(namespace)
        self.reasons: list[str] = []
        self.writer = StatusWriter(
            api, parse(document), lambda: datetime.now(UTC), lambda: 1.0, self._on_transition, sleep
        )

    async def _on_transition(self, status: Status) -> None:
        self.reasons.append(status.conditions[0].reason)

    async def status(self) -> Status:
        return parse(await self.api.get(self.path)).status


class Pauses(list[float]):
    """The pauses that were asked for, none of which is made."""

    async def sleep(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture(autouse=True)
def judged(cluster: Cluster, namespace: str) -> Iterator[None]:
    """Checks every status that is written here by the rules for a whole operator."""
    with History(cluster.api, namespace):
        yield


@pytest.fixture
async def case(cluster: Cluster, namespace: str) -> AsyncIterator[Case]:
    api = await KubeApi.connect(cluster.kubeconfig)
    made = Case(api, namespace, await api.create(collection_path(namespace), NEW))
    running = asyncio.create_task(made.writer.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError, Gone):
        await running
    await api.close()


async def until_reasons(case: Case, *reasons: str) -> None:
    async with asyncio.timeout(60):
        while case.reasons != list(reasons):  # noqa: ASYNC110 -- the writer's callback fills the list
            await asyncio.sleep(0.01)


async def test_states_that_do_not_last_are_skipped_and_the_end_is_written_at_once(case: Case) -> None:
    for events in ([Queued("q")], [Started(MODEL, 0)], [Started(MODEL, 0), Progressed(5, 0, 1, 1)]):
        case.writer.show(after(*events), 1)
        await asyncio.sleep(0)
    case.writer.show(after(Started(MODEL, 0), Available(MODEL)), 1)
    await until_reasons(case, "Available")
    assert (await case.status()).ready


async def test_what_another_one_writes_before_our_answer_has_come_is_put_right_too(case: Case) -> None:
    patch = case.api.patch

    async def overtaken(path: str, body: Any, kind: Any = "merge", **options: Any) -> dict[str, Any]:
        answer = await patch(path, body, kind, **options)
        case.api.patch = patch  # type: ignore[method-assign]
        foreign = await patch(path, {"status": {"attempts": 7}})
        case.writer.on_update(parse(foreign))
        return answer

    case.api.patch = overtaken  # type: ignore[method-assign]
    case.writer.show(after(Available(MODEL)), 1)
    await until_reasons(case, "Available")
    async with asyncio.timeout(60):
        while (await case.status()).attempts == 7:  # noqa: ASYNC110 -- it is the API server that is asked
            await asyncio.sleep(0.05)
    assert (await case.status()).ready


async def test_what_is_stale_goes_away(case: Case) -> None:
    moving = after(Started(MODEL, 0), Progressed(500, 0, 100, 5))
    case.writer.show(moving, 1)
    await case.writer.flush()
    before = (await case.status()).progress
    assert before is not None
    assert before.bytes_per_second == 100
    case.writer.show(replace(moving, bytes_per_second=None, eta_seconds=None), 1)
    await case.writer.flush()
    written = (await case.api.get(case.path))["status"]["progress"]
    assert "bytesPerSecond" not in written
    assert "etaSeconds" not in written


async def test_the_same_again_is_not_written(case: Case) -> None:
    case.writer.show(after(Queued("q")), 1)
    await case.writer.flush()
    version = (await case.api.get(case.path))["metadata"]["resourceVersion"]
    case.writer.show(after(Queued("q")), 1)
    await case.writer.flush()
    assert (await case.api.get(case.path))["metadata"]["resourceVersion"] == version


async def test_an_object_that_is_gone_ends_the_writer(case: Case) -> None:
    await case.api.delete(case.path)
    case.writer.show(after(Queued("q")), 1)
    with pytest.raises(Gone):
        await case.writer.flush()


async def test_another_object_of_the_same_name_is_never_written_to(case: Case) -> None:
    await case.api.delete(case.path)
    await case.api.create(case.collection, NEW)
    case.writer.show(after(Queued("q")), 1)
    with pytest.raises(Gone):
        await case.writer.flush()
    assert (await case.status()).conditions == ()


async def test_an_unknown_uid_is_found_out_by_the_next_write(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    with ApiProxy(cluster) as proxy:
        api = await KubeApi.connect(proxy.kubeconfig(tmp_path / "config"))
        case = Case(api, namespace, await api.create(collection_path(namespace), NEW), Pauses().sleep)
        await api.delete(case.path)
        await api.create(case.collection, NEW)
        case.writer.show(after(Queued("q")), 1)
        with proxy.answering(500, lambda asked: asked.method == "GET") as outage:
            await case.writer.flush()
        assert outage.hits == 1
        with pytest.raises(Gone):
            await case.writer.flush()
        await api.close()


async def test_an_api_server_that_names_a_time_is_left_alone_until_then(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with ApiProxy(cluster) as proxy:
        api = await KubeApi.connect(proxy.kubeconfig(tmp_path / "config"))
        pauses = Pauses()
        case = Case(api, namespace, await api.create(collection_path(namespace), NEW), pauses.sleep)
        case.writer.show(after(Queued("q")), 1)
        with proxy.answering(429, status_patches, retry_after=4):
            await case.writer.flush()
        assert pauses == [4]
        await api.close()


async def test_a_status_that_is_refused_is_not_repeated_but_reported(case: Case) -> None:
    unwritable = replace(MODEL, claim_name="c" * 300)
    snapshot = after(Started(unwritable, 0))
    case.writer._wanted = (snapshot, 1)
    with pytest.raises(StatusRefused, match="claimName"):
        await case.writer.flush()
