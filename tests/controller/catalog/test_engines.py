"""The ConfigMaps of engines on a real API server: they follow the catalog, and nothing depends on them."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.controller.catalog.catalog import Catalog
from model_provisioner.domain.engines.engines import ENGINES
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.kube.client import ApiError
from tests.controller.catalog.test_catalog import LABEL, Case, Document, connected, running, subject
from tests.domain.engines.preset_file import read_presets
from tests.support.api_proxy import ApiProxy, Asked
from tests.support.samples import MODEL

PRESETS = "model-catalog-llama-cpp"
KEY = "llama-cpp.models.ini"
SECOND = replace(MODEL, claim_name="second")


class EngineCase:
    """A catalog with all engines, unless others are named, of one namespace."""

    def __init__(self, case: Case, cluster: Cluster) -> None:
        self.case = case
        self.cluster = cluster
        self.catalog = self.made(*ENGINES)

    def made(self, *engines: str) -> Catalog:
        return Catalog(self.case.api, [self.case.namespace], engines=[ENGINES[name] for name in engines])

    def new(self, name: str, uid: str = "") -> ModelDownload:
        return subject(self.case.namespace, name, uid)

    def path(self, name: str) -> str:
        return f"/api/v1/namespaces/{self.case.namespace}/configmaps/{name}"

    async def found(self, name: str) -> Document | None:
        try:
            return await self.case.api.get(self.path(name))
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def data(self, name: str = PRESETS) -> dict[str, str]:
        found = await self.found(name)
        return (found or {}).get("data") or {}

    async def until_listed(self, *names: str) -> None:
        async def listed() -> bool:
            return sorted(read_presets((await self.data()).get(KEY, ""))) == sorted(names)

        await self.case.until(listed)

    async def until_all_exist(self) -> None:
        async def exist() -> bool:
            return all([await self.data(engine.config_map_name) for engine in ENGINES.values()])

        await self.case.until(exist)

    async def until_gone(self, name: str) -> None:
        async def gone() -> bool:
            return await self.found(name) is None

        await self.case.until(gone)


@pytest.fixture
async def engines(cluster: Cluster, namespace: str) -> AsyncIterator[EngineCase]:
    async with connected(cluster.kubeconfig, namespace) as case:
        yield EngineCase(case, cluster)


async def test_every_engine_has_a_config_map_with_a_file_for_each_claim(engines: EngineCase) -> None:
    async with running(engines.catalog):
        await engines.catalog.enter(engines.new("tiny"), MODEL)
        await engines.catalog.enter(engines.new("other"), SECOND)

        async def complete() -> bool:
            return [len(await engines.data(engine.config_map_name)) for engine in ENGINES.values()] == [2, 2, 2]

        await engines.case.until(complete)
    for engine in ENGINES.values():
        found = await engines.found(engine.config_map_name)
        assert found is not None
        assert found["metadata"]["labels"] == LABEL
        assert set(found["data"]) == {engine.key("models"), engine.key("second")}
        assert "tiny" in found["data"][engine.key("models")]
        assert "other" in found["data"][engine.key("second")]


async def test_without_engines_there_is_the_catalog_alone(engines: EngineCase) -> None:
    catalog = engines.made()
    async with running(catalog):
        await catalog.enter(engines.new("tiny"), MODEL)
    listed = await engines.case.api.get(f"/api/v1/namespaces/{engines.case.namespace}/configmaps")
    names = {item["metadata"]["name"] for item in listed["items"]}
    assert {name for name in names if name.startswith("model-catalog")} == {"model-catalog"}


async def test_a_model_that_leaves_or_is_lost_is_dropped_and_a_changed_one_replaced(engines: EngineCase) -> None:
    async with running(engines.catalog):
        for name in ("kept", "left", "lost"):
            await engines.catalog.enter(engines.new(name), MODEL)
        await engines.until_listed("kept", "left", "lost")
        await engines.catalog.leave(engines.new("left"))
        engines.catalog.drop(engines.new("lost"))
        await engines.until_listed("kept")
        await engines.catalog.enter(engines.new("kept"), replace(MODEL, path="hf/new.gguf"))

        async def replaced() -> bool:
            return read_presets((await engines.data())[KEY]) == {"kept": {"model": "/models/hf/new.gguf"}}

        await engines.case.until(replaced)


async def test_another_object_of_the_same_name_keeps_its_section(engines: EngineCase) -> None:
    async with running(engines.catalog):
        await engines.catalog.enter(engines.new("tiny", "new"), MODEL)
        engines.catalog.drop(engines.new("tiny", "old"))
        await engines.until_listed("tiny")


async def test_many_models_are_written_by_few_applies(engines: EngineCase) -> None:
    catalog = engines.made("llama-cpp")
    async with running(catalog):
        async with asyncio.TaskGroup() as tasks:
            for number in range(200):
                tasks.create_task(catalog.enter(engines.new(f"n{number}"), MODEL))
        await engines.until_listed(*(f"n{number}" for number in range(200)))
    assert len(engines.case.writes) <= 6, "three for each of two ConfigMaps"


async def test_what_other_clients_change_or_delete_is_restored(engines: EngineCase) -> None:
    async with running(engines.catalog):
        await engines.catalog.enter(engines.new("tiny"), MODEL)
        await engines.until_listed("tiny")
        engines.cluster.api.merge(engines.path(PRESETS), {"data": {KEY: "[mine]\n", "more": "1"}})
        await engines.until_listed("tiny")

        async def alone() -> bool:
            return list(await engines.data()) == [KEY]

        await engines.case.until(alone)
        engines.cluster.api.delete(engines.path(PRESETS))
        await engines.until_listed("tiny")


async def test_models_that_a_former_operator_left_are_removed(engines: EngineCase) -> None:
    async with running(engines.catalog):
        await engines.catalog.enter(engines.new("stale"), MODEL)
        await engines.until_all_exist()
    async with running(engines.made(*ENGINES)):
        await engines.until_listed()
    assert await engines.found(PRESETS) is not None


async def test_the_config_map_of_another_owner_stays_and_keeps_no_model_back(
    engines: EngineCase, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = {"metadata": {"name": PRESETS}, "data": {"theirs": "1"}}
    engines.cluster.api.create(f"/api/v1/namespaces/{engines.case.namespace}/configmaps", theirs)
    async with running(engines.catalog):
        await engines.catalog.enter(engines.new("tiny"), MODEL)

        async def others_are_written() -> bool:
            return bool(await engines.data("model-catalog-localai"))

        await engines.case.until(others_are_written)

        async def told() -> bool:
            return f"{PRESETS} in namespace {engines.case.namespace} belongs to another owner" in caplog.text

        await engines.case.until(told)
        await engines.catalog.leave(engines.new("tiny"))
    assert await engines.data() == {"theirs": "1"}


async def test_an_engine_whose_writes_fail_holds_nothing_up_and_is_written_later(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    def of_the_presets(asked: Asked) -> bool:
        return asked.method == "PATCH" and asked.path.endswith(PRESETS)

    with ApiProxy(cluster) as proxy:
        async with connected(proxy.kubeconfig(tmp_path / "config"), namespace) as case:
            engines = EngineCase(case, cluster)
            async with running(engines.catalog):
                with proxy.answering(500, of_the_presets) as fault:
                    await engines.catalog.enter(engines.new("tiny"), MODEL)
                    await engines.catalog.enter(engines.new("gone"), MODEL)
                    await engines.catalog.leave(engines.new("gone"))

                    async def refused() -> bool:
                        return fault.hits > 0

                    await case.until(refused)
                    assert await engines.data() == {}
                await engines.until_listed("tiny")


async def test_a_model_that_does_not_fit_the_format_is_named_in_the_log(
    engines: EngineCase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "model_provisioner.controller.catalog.engine_rows")
    async with running(engines.catalog):
        await engines.catalog.enter(engines.new("hash"), replace(MODEL, path="local/a#b.gguf"))
        await engines.catalog.enter(engines.new("tiny"), MODEL)
        await engines.until_listed("tiny")
    assert "; hash is left out: " in (await engines.data())[KEY]
    assert f"{engines.case.namespace}/hash is left out of the ConfigMap {PRESETS}: " in caplog.text


async def test_the_config_map_of_an_engine_that_is_switched_off_is_deleted(engines: EngineCase) -> None:
    namespace = engines.case.namespace
    async with running(engines.catalog):
        await engines.catalog.enter(engines.new("tiny"), MODEL)
        await engines.until_all_exist()
    theirs = {"metadata": {"name": "model-catalog-llama-swap", "labels": None}}
    engines.cluster.api.merge(engines.path("model-catalog-llama-swap"), theirs)
    after = engines.made("llama-cpp")
    after.seed([])
    async with running(after):
        await after.enter(engines.new("tiny"), MODEL)
        await engines.until_gone("model-catalog-localai")
        await engines.until_listed("tiny")
    assert await engines.found("model-catalog-llama-swap") is not None, f"without our label, in {namespace}"
