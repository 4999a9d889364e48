"""The catalog on a real API server: what it writes, how often, what it reverts, and what it does not touch."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.controller.catalog import catalog as catalog_module
from model_provisioner.controller.catalog import writer as writer_module
from model_provisioner.controller.catalog.catalog import Catalog
from model_provisioner.domain.catalog import LIMIT_BYTES, Entry, rows, size
from model_provisioner.domain.errors import CatalogUnavailable
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import parse
from tests.support.api_proxy import ApiProxy, Asked, dropped, watches
from tests.support.samples import MODEL

Document = dict[str, Any]
LABEL = {"app.kubernetes.io/managed-by": "model-provisioner"}


def subject(namespace: str, name: str, uid: str = "") -> ModelDownload:
    metadata = {"namespace": namespace, "name": name, "uid": uid or f"uid-{name}"}
    return parse({"metadata": metadata, "spec": {"modelRef": f"hf:acme/{name}"}})


def patches(asked: Asked) -> bool:
    return asked.method == "PATCH"


class Clock:
    """A clock that advances only in `sleep`, which returns at once."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class Case:
    """A catalog of one namespace. `writes` are the kinds of all patches; `answers` are raised in their place."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self.path = f"/api/v1/namespaces/{namespace}/configmaps/model-catalog"
        self.clock = Clock()
        self.catalog = Catalog(api, [namespace])
        self.writes: list[str] = []
        self.answers: list[ApiError] = []

    def count(self, api: KubeApi) -> None:
        """Records every patch in `writes`, and raises the next of `answers`, if there is one."""
        patch = api.patch

        async def counted(path: str, body: Any, kind: Any = "merge", **options: Any) -> Document:
            self.writes.append(kind)
            if self.answers:
                raise self.answers.pop(0)
            return await patch(path, body, kind, **options)

        api.patch = counted  # type: ignore[method-assign]

    def stop_the_clock(self) -> None:
        self.catalog = Catalog(self.api, [self.namespace], self.clock.monotonic, self.clock.sleep)

    def new(self, name: str, uid: str = "") -> ModelDownload:
        return subject(self.namespace, name, uid)

    async def found(self) -> Document:
        return await self.api.get(self.path)

    async def keys(self) -> list[str]:
        try:
            return sorted((await self.found()).get("data") or {})
        except ApiError as error:
            if error.status != 404:
                raise
            return []

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(60):
            while not await holds():  # noqa: ASYNC110 -- the condition is at the API server
                await asyncio.sleep(0.02)

    async def until_keys(self, *names: str) -> None:
        wanted = sorted(f"{name}.{kind}" for name in names for kind in ("json", "path", "claim"))

        async def there() -> bool:
            return await self.keys() == wanted

        await self.until(there)


@contextlib.asynccontextmanager
async def connected(kubeconfig: Path, namespace: str) -> AsyncIterator[Case]:
    api = await KubeApi.connect(kubeconfig)
    case = Case(api, namespace)
    case.count(api)
    try:
        yield case
    finally:
        await api.close()


@pytest.fixture
async def case(cluster: Cluster, namespace: str) -> AsyncIterator[Case]:
    async with connected(cluster.kubeconfig, namespace) as made:
        yield made


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[ApiProxy]:
    with ApiProxy(cluster) as running:
        yield running


@pytest.fixture
async def behind(proxy: ApiProxy, namespace: str, tmp_path: Path) -> AsyncIterator[Case]:
    """A case that reaches the API server through `proxy`."""
    async with connected(proxy.kubeconfig(tmp_path / "config"), namespace) as made:
        yield made


@contextlib.asynccontextmanager
async def running(catalog: Catalog) -> AsyncIterator[None]:
    task = asyncio.create_task(catalog.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_one_model_is_there_when_enter_returns_and_gone_when_leave_does(case: Case) -> None:
    await case.catalog.enter(case.new("tiny"), MODEL)
    assert (await case.found())["data"] == rows("tiny", Entry("hf:acme/tiny", MODEL))
    assert (await case.found())["metadata"]["labels"] == LABEL
    assert case.catalog.holds(case.new("tiny"))
    await case.catalog.leave(case.new("tiny"))
    assert await case.keys() == []
    assert not case.catalog.holds(case.new("tiny"))


async def test_many_models_that_arrive_together_are_written_by_few_applies(case: Case) -> None:
    await case.catalog.enter(case.new("first"), MODEL)
    async with asyncio.TaskGroup() as tasks:
        for number in range(200):
            tasks.create_task(case.catalog.enter(case.new(f"n{number}"), MODEL))
    assert len(await case.keys()) == 3 * 201
    assert len(case.writes) <= 3


async def test_a_catalog_that_is_up_to_date_is_not_written(case: Case) -> None:
    await case.catalog.enter(case.new("tiny"), MODEL)
    again = Catalog(case.api, [case.namespace])
    await again.enter(case.new("tiny"), MODEL)
    await again.enter(case.new("tiny"), MODEL)
    assert case.writes == ["apply"]


async def test_without_ready_models_there_is_no_config_map(case: Case) -> None:
    await case.catalog.leave(case.new("never-there"))
    async with running(case.catalog):
        await asyncio.sleep(0.3)
    assert case.writes == []


async def test_two_namespaces_have_two_catalogs(cluster: Cluster, case: Case) -> None:
    other = f"{case.namespace}-2"
    cluster.create_namespace(other)
    both = Catalog(case.api, [case.namespace, other])
    await both.enter(case.new("one"), MODEL)
    await both.enter(subject(other, "two"), MODEL)
    assert await case.keys() == ["one.claim", "one.json", "one.path"]
    found = await case.api.get(f"/api/v1/namespaces/{other}/configmaps/model-catalog")
    assert sorted(found["data"]) == ["two.claim", "two.json", "two.path"]


async def test_another_object_of_the_same_name_keeps_its_place(case: Case) -> None:
    old, new = case.new("tiny", "old"), case.new("tiny", "new")
    await case.catalog.enter(old, MODEL)
    await case.catalog.enter(new, replace(MODEL, path="hf/new.gguf"))
    await case.catalog.leave(old)
    assert (await case.found())["data"]["tiny.path"] == "hf/new.gguf"


DRIFT: dict[str, Mapping[str, Any]] = {
    "a value": {"data": {"tiny.path": "elsewhere"}},
    "a key more": {"data": {"mine": "1"}, "binaryData": {"b": "AAAA"}},
    "a key less": {"data": {"tiny.claim": None}},
    "the label": {"metadata": {"labels": None}},
    "everything": {"data": None},
}


@pytest.mark.parametrize("patch", DRIFT.values(), ids=DRIFT.keys())
async def test_changes_of_other_clients_are_reverted(case: Case, cluster: Cluster, patch: Document) -> None:
    async with running(case.catalog):
        await case.catalog.enter(case.new("tiny"), MODEL)
        right = await case.found()
        drifted = cluster.api.merge(case.path, dict(patch))
        assert drifted.get("data") != right["data"] or drifted["metadata"].get("labels") != LABEL

        async def repaired() -> bool:
            found = await case.found()
            same = found.get("data") == right["data"] and found["metadata"].get("labels") == LABEL
            return same and not found.get("binaryData")

        await case.until(repaired)


async def test_repeated_changes_are_reverted_after_growing_pauses(
    case: Case, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "model_provisioner.controller.catalog.writer")
    case.stop_the_clock()

    async def right() -> bool:
        return bool((await case.found())["data"]["tiny.path"] == MODEL.path)

    async def answer(number: int) -> float:
        """Changes a value; returns the seconds until it is reverted."""
        begun = case.clock.now
        cluster.api.merge(case.path, {"data": {"tiny.path": f"theirs-{number}"}})
        await case.until(right)
        await case.catalog.enter(case.new("tiny"), MODEL)
        return case.clock.now - begun

    async with running(case.catalog):
        await case.catalog.enter(case.new("tiny"), MODEL)
        await case.clock.sleep(1)
        assert [await answer(number) for number in range(9)] == [0, 1, 2, 4, 8, 16, 32, 60, 60]
        assert caplog.text.count("was changed by another client") == 1
        assert len(case.writes) == 10
        await case.clock.sleep(71)
        assert await answer(9) == 0
    assert caplog.text.count("was changed by another client") == 2


async def test_a_catalog_that_is_deleted_comes_back(case: Case, cluster: Cluster) -> None:
    async with running(case.catalog):
        await case.catalog.enter(case.new("tiny"), MODEL)
        cluster.api.delete(case.path)
        await case.until_keys("tiny")


async def test_a_catalog_that_is_deleted_while_it_is_written_comes_back(
    behind: Case, proxy: ApiProxy, cluster: Cluster
) -> None:
    """Between the apply and the request that removes the keys of others, which then finds nothing."""

    def removes_theirs(asked: Asked) -> bool:
        return asked.method == "PATCH" and b'"theirs"' in asked.body

    def delete() -> bool:
        cluster.api.delete(behind.path)
        return True

    async with running(behind.catalog):
        await behind.catalog.enter(behind.new("tiny"), MODEL)
        with proxy.at(0, removes_theirs, delete, after=False) as fault:
            cluster.api.merge(behind.path, {"data": {"theirs": "1"}})

            async def deleted() -> bool:
                return bool(fault.bitten)

            await behind.until(deleted)
            await behind.until_keys("tiny")


async def test_a_change_that_the_watch_misses_is_found_by_the_resync(
    behind: Case, proxy: ApiProxy, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_RESYNC_SECONDS", 0.2)

    async def is_watched() -> bool:
        return bool(proxy.asked(watches))

    async def is_right() -> bool:
        return (await behind.found()).get("data") == rows("tiny", Entry("hf:acme/tiny", MODEL))

    with proxy.distorting(dropped):
        async with running(behind.catalog):
            await behind.catalog.enter(behind.new("tiny"), MODEL)
            await behind.until(is_watched)
            cluster.api.merge(behind.path, {"data": {"tiny.path": "elsewhere"}})
            await behind.until(is_right)
            cluster.api.delete(behind.path)
            await behind.until_keys("tiny")
            asked = len(proxy.log)

            async def has_looked_again() -> bool:
                return len(proxy.log) >= asked + 3

            await behind.until(has_looked_again)
    assert behind.writes == ["apply"] * 3, "a resync without a difference writes nothing"


async def test_keys_that_another_field_manager_took_are_taken_back(case: Case, cluster: Cluster) -> None:
    await case.catalog.enter(case.new("tiny"), MODEL)
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "model-catalog"},
        "data": {"tiny.path": "x"},
    }
    cluster.api.apply(theirs, case.namespace)
    await case.catalog.enter(case.new("next"), MODEL)
    async with running(case.catalog):

        async def taken_back() -> bool:
            return bool((await case.found())["data"].get("tiny.path") == MODEL.path)

        await case.until(taken_back)
    assert "next.path" in await case.keys()


async def test_models_that_a_former_operator_left_are_removed(case: Case) -> None:
    await case.catalog.enter(case.new("stale"), MODEL)
    after_restart = Catalog(case.api, [case.namespace])
    async with running(after_restart):
        await case.until_keys()


async def test_a_dropped_model_is_removed_without_a_caller(case: Case) -> None:
    async with running(case.catalog):
        await case.catalog.enter(case.new("kept"), MODEL)
        await case.catalog.enter(case.new("lost"), MODEL)
        case.catalog.drop(case.new("lost"))
        await case.until_keys("kept")


async def test_a_model_that_is_dropped_while_writes_fail_is_removed_later(behind: Case, proxy: ApiProxy) -> None:
    behind.stop_the_clock()
    await behind.catalog.enter(behind.new("lost"), MODEL)
    with proxy.answering(500, patches, times=4) as fault:
        async with running(behind.catalog):
            behind.catalog.drop(behind.new("lost"))
            await behind.until_keys()
        assert fault.hits == 4


async def test_an_object_that_was_deleted_by_force_is_removed(case: Case) -> None:
    async with running(case.catalog):
        await case.catalog.enter(case.new("tiny"), MODEL)
        metadata = {"namespace": case.namespace, "name": "tiny", "uid": "uid-tiny"}
        case.catalog.on_event("DELETED", {"metadata": metadata, "spec": {"modelRef": "hf:acme/tiny"}})
        await case.until_keys()


async def test_the_config_map_of_another_owner_is_not_changed_until_it_is_handed_over(
    case: Case, cluster: Cluster
) -> None:
    theirs = {"metadata": {"name": "model-catalog"}, "data": {"theirs": "1"}}
    cluster.api.create(f"/api/v1/namespaces/{case.namespace}/configmaps", theirs)
    async with running(case.catalog):
        with pytest.raises(CatalogUnavailable, match=r"belongs to another owner .*hand it over with the label"):
            await case.catalog.enter(case.new("tiny"), MODEL)
        await case.catalog.leave(case.new("another"))
        assert (await case.found())["data"] == {"theirs": "1"}
        assert case.writes == []
        cluster.api.merge(case.path, {"metadata": {"labels": LABEL}})
        await case.catalog.enter(case.new("tiny"), MODEL)
        await case.until_keys("tiny")


async def test_an_empty_config_map_of_another_owner_is_taken_over(case: Case, cluster: Cluster) -> None:
    cluster.api.create(f"/api/v1/namespaces/{case.namespace}/configmaps", {"metadata": {"name": "model-catalog"}})
    await case.catalog.enter(case.new("tiny"), MODEL)
    await case.until_keys("tiny")


@pytest.mark.parametrize("status", [0, 409, 429, 500, 503])
async def test_transient_errors_are_retried_at_once(case: Case, status: int) -> None:
    case.answers = [ApiError(status, "Hiccup", "scripted", 0.01)] * 2
    await case.catalog.enter(case.new("tiny"), MODEL)
    assert case.writes == ["apply"] * 3


async def test_one_failure_is_the_result_of_all_waiting_callers(behind: Case, proxy: ApiProxy) -> None:
    behind.stop_the_clock()
    await behind.catalog.enter(behind.new("first"), MODEL)
    begun, written = behind.clock.now, len(proxy.asked(patches))
    with proxy.answering(500, patches):
        entering = [behind.catalog.enter(behind.new(f"n{number}"), MODEL) for number in range(200)]
        results = await asyncio.gather(*entering, behind.catalog.leave(behind.new("first")), return_exceptions=True)
    assert {str(error) for error in results} == {
        f"ConfigMap model-catalog in namespace {behind.namespace} could not be written: "
        "scripted: InternalError (500 InternalError)"
    }
    assert {type(error) for error in results} == {CatalogUnavailable}
    assert len(proxy.asked(patches)) - written == 4
    assert behind.clock.now - begun < 5
    await behind.catalog.leave(behind.new("first"))
    await behind.until_keys(*(f"n{number}" for number in range(200)))


async def test_a_write_without_a_caller_succeeds_within_seconds_after_a_failure(behind: Case, proxy: ApiProxy) -> None:
    """However long the failure has lasted; `recovered` returns at its end."""
    behind.stop_the_clock()
    await behind.catalog.enter(behind.new("lost"), MODEL)
    async with running(behind.catalog):
        with proxy.answering(500, patches) as fault:
            with pytest.raises(CatalogUnavailable):
                await behind.catalog.enter(behind.new("new"), MODEL)
            recovering = asyncio.create_task(behind.catalog.recovered(behind.new("new")))
            behind.catalog.drop(behind.new("lost"))

            async def has_lasted() -> bool:
                return fault.hits >= 40

            await behind.until(has_lasted)
            assert not recovering.done()
            begun = behind.clock.now
        await behind.until_keys("new")
        async with asyncio.timeout(60):
            await recovering
        assert behind.clock.now - begun < 10
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await behind.catalog.recovered(behind.new("new"))


async def test_no_request_is_sent_before_the_end_of_retry_after(behind: Case, proxy: ApiProxy) -> None:
    behind.stop_the_clock()
    with proxy.answering(429, patches, retry_after=60):
        with pytest.raises(CatalogUnavailable, match="could not be written: scripted: TooManyRequests") as raised:
            await behind.catalog.enter(behind.new("tiny"), MODEL)
        assert raised.value.retry_after == 60
        await behind.clock.sleep(20)
        asked = len(proxy.log)
        for number in range(5):
            with pytest.raises(CatalogUnavailable, match="TooManyRequests") as raised:
                await behind.catalog.enter(behind.new(f"n{number}"), MODEL)
            assert raised.value.retry_after == 40
        with pytest.raises(CatalogUnavailable, match="TooManyRequests"):
            await behind.catalog.leave(behind.new("n0"))
        assert len(proxy.log) == asked
    await behind.clock.sleep(38)
    await behind.catalog.enter(behind.new("n1"), MODEL)
    assert behind.clock.now == 1060
    await behind.until_keys("tiny", *(f"n{number}" for number in range(1, 5)))


async def test_a_deletion_does_not_wait_for_an_api_server_that_hangs(
    behind: Case, proxy: ApiProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "_LEAVE_SECONDS", 0.2)
    await behind.catalog.enter(behind.new("tiny"), MODEL)
    with proxy.hanging(patches):
        for _ in range(2):
            with pytest.raises(CatalogUnavailable, match="is still being written"):
                await behind.catalog.leave(behind.new("tiny"))
    await behind.until_keys()
    assert len(proxy.asked(patches)) == 2


async def test_a_cancelled_enter_leaves_nothing_behind(behind: Case, proxy: ApiProxy) -> None:
    await behind.catalog.enter(behind.new("first"), MODEL)
    applied, release = threading.Event(), threading.Event()

    def hold() -> bool:
        applied.set()
        return release.wait(60)

    with proxy.at(0, patches, hold, after=True):
        entering = asyncio.create_task(behind.catalog.enter(behind.new("regretted"), MODEL))
        await asyncio.to_thread(applied.wait, 60)
        entering.cancel()
        leaving = asyncio.create_task(behind.catalog.leave(behind.new("regretted")))
        await asyncio.wait({entering})
        assert "regretted.path" in await behind.keys()
        release.set()
        await leaving
    assert await behind.keys() == ["first.claim", "first.json", "first.path"]


async def test_the_config_map_is_read_again_after_a_write_whose_answers_were_lost(
    behind: Case, proxy: ApiProxy
) -> None:
    await behind.catalog.enter(behind.new("first"), MODEL)
    behind.stop_the_clock()
    await behind.catalog.enter(behind.new("first"), MODEL)
    with contextlib.ExitStack() as lost:
        for _ in range(4):
            lost.enter_context(proxy.at(0, patches, lambda: False, after=True))
        with pytest.raises(CatalogUnavailable):
            await behind.catalog.enter(behind.new("regretted"), MODEL)
    assert "regretted.path" in await behind.keys()
    await behind.catalog.leave(behind.new("regretted"))
    assert await behind.keys() == ["first.claim", "first.json", "first.path"]


async def test_no_write_goes_on_after_the_catalog_has_stopped(behind: Case, proxy: ApiProxy) -> None:
    with proxy.hanging(patches) as fault:
        async with running(behind.catalog):
            entering = asyncio.create_task(behind.catalog.enter(behind.new("tiny"), MODEL))

            async def begun() -> bool:
                return fault.hits > 0

            await behind.until(begun)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(entering, 60)


async def test_a_terminating_namespace_does_not_delay_a_deletion(case: Case, cluster: Cluster) -> None:
    await case.catalog.enter(case.new("tiny"), MODEL)
    cluster.api.delete(f"/api/v1/namespaces/{case.namespace}")
    cluster.api.delete(case.path)
    other = Catalog(case.api, [case.namespace])
    for name in ("late", "later"):
        with pytest.raises(CatalogUnavailable, match="being terminated"):
            await other.enter(case.new(name), MODEL)
    await other.leave(case.new("late"))


async def test_missing_permissions_are_an_error(cluster: Cluster, namespace: str, case: Case) -> None:
    cluster.create_service_account(namespace, "nobody")
    api = await KubeApi.connect(cluster.kubeconfig_for_service_account(namespace, "nobody"))
    try:
        with pytest.raises(CatalogUnavailable, match='cannot get resource "configmaps"'):
            await Catalog(api, [namespace]).enter(case.new("tiny"), MODEL)
    finally:
        await api.close()


async def test_a_model_without_room_is_refused_with_the_numbers_and_enters_later(case: Case) -> None:
    big = replace(MODEL, path="hf/" + "x" * 8000 + ".gguf", files=())
    one = size([rows("n000", Entry("hf:acme/n000", big))])
    fits = LIMIT_BYTES // one
    async with asyncio.TaskGroup() as tasks:
        for number in range(fits):
            tasks.create_task(case.catalog.enter(case.new(f"n{number:03}"), big))
    with pytest.raises(CatalogUnavailable, match=f"holds {fits} models in .* of at most 800.0 KiB"):
        await case.catalog.enter(case.new("late"), big)
    await case.catalog.enter(case.new("n000"), replace(big, path=big.path + "longer"))
    assert len(await case.keys()) == 3 * fits
    await case.catalog.leave(case.new("n001"))
    await case.catalog.leave(case.new("n002"))
    await case.catalog.enter(case.new("late"), big)
    assert len(await case.keys()) == 3 * (fits - 1)
