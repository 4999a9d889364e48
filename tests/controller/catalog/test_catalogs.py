"""The catalogs of every namespace: they come with the first object of a namespace, and end after its last."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.controller.catalog import catalogs
from model_provisioner.controller.catalog.catalog import Catalog
from model_provisioner.domain.scope import EVERY_NAMESPACE
from model_provisioner.kube.client import KubeApi
from tests.controller.catalog.test_catalog import Case, connected, running
from tests.support.programs import eventually
from tests.support.samples import MODEL


@pytest.fixture
async def case(cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Case]:
    """A catalog of every namespace, that of a test among them. Idle ones end after a moment."""
    monkeypatch.setattr(catalogs, "_IDLE_SECONDS", 0.2)
    async with connected(cluster.kubeconfig, namespace) as made:
        made.catalog = Catalog(made.api, [EVERY_NAMESPACE])
        yield made


def event(case: Case, kind: str, name: str) -> None:
    """As the watch of objects tells it."""
    case.catalog.on_event(kind, {"metadata": {"namespace": case.namespace, "name": name, "uid": f"uid-{name}"}})


def known(case: Case) -> dict[str, Any]:
    """The catalogs that there are now, which nothing else shows."""
    found: dict[str, Any] = case.catalog._catalogs._catalogs
    return found


async def test_a_namespace_has_a_catalog_from_its_first_object_to_its_last(case: Case) -> None:
    async with running(case.catalog):
        await asyncio.sleep(0.5)
        assert case.namespace not in known(case)
        event(case, "ADDED", "tiny")
        event(case, "ADDED", "other")
        await case.catalog.enter(case.new("tiny"), MODEL)
        await case.until_keys("tiny")
        event(case, "DELETED", "tiny")
        await case.until_keys()
        await asyncio.sleep(0.5)
        assert case.namespace in known(case), "another object is there"
        event(case, "DELETED", "other")
        await case.until(lambda: _is(case.namespace not in known(case)))
        event(case, "ADDED", "again")
        await case.catalog.enter(case.new("again"), MODEL)
        await case.until_keys("again")


async def test_changes_of_other_clients_are_reverted_by_the_one_watch(case: Case) -> None:
    event(case, "ADDED", "tiny")
    async with running(case.catalog):
        await case.catalog.enter(case.new("tiny"), MODEL)
        await case.api.patch(case.path, {"data": {"foreign.path": "x"}})
        await case.until_keys("tiny")
        await case.api.delete(case.path)
        await case.until_keys("tiny")


async def test_entries_that_a_former_operator_left_are_removed_and_other_config_maps_stay(
    case: Case, cluster: Cluster
) -> None:
    await Catalog(case.api, [case.namespace]).enter(case.new("stale"), MODEL)
    theirs = f"{case.namespace}-theirs"
    cluster.create_namespace(theirs)
    cluster.api.create(
        f"/api/v1/namespaces/{theirs}/configmaps", {"metadata": {"name": "model-catalog"}, "data": {"a.path": "theirs"}}
    )
    async with running(case.catalog):
        await case.until_keys()
        await case.until(lambda: _is(case.namespace not in known(case)))
        assert theirs not in known(case)
    assert cluster.api.get(f"/api/v1/namespaces/{theirs}/configmaps/model-catalog")["data"] == {"a.path": "theirs"}


async def test_a_namespace_that_is_gone_keeps_no_catalog(case: Case, cluster: Cluster) -> None:
    event(case, "ADDED", "tiny")
    async with running(case.catalog):
        await case.catalog.enter(case.new("tiny"), MODEL)
        cluster.finish_namespace(case.namespace)
        await case.catalog.leave(case.new("tiny"))
        event(case, "DELETED", "tiny")
        await case.until(lambda: _is(case.namespace not in known(case)))


async def test_the_end_of_the_operator_ends_all(case: Case) -> None:
    event(case, "ADDED", "tiny")
    task = asyncio.create_task(case.catalog.run())
    await case.catalog.enter(case.new("tiny"), MODEL)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    before = len(case.writes)
    case.catalog.drop(case.new("tiny"))
    await asyncio.sleep(0.3)
    assert len(case.writes) == before


async def test_the_account_needs_no_other_config_map(cluster: Cluster, case: Case) -> None:
    """A name in a rule covers a list and a watch of the cluster that select by this name."""
    rule = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["model-catalog"]}
    name = f"{case.namespace}-catalogs"
    cluster.create_service_account(case.namespace, "operator")
    cluster.apply(
        [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": name},
                "rules": [{**rule, "verbs": ["create", "get", "list", "patch", "watch"]}],
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": case.namespace}],
            },
        ]
    )
    allowed = partial(cluster.allows, case.namespace, "operator", {**rule, "verbs": ["watch"]}, within="")
    eventually(allowed, "the API server knows of it")
    api = await KubeApi.connect(cluster.kubeconfig_for_service_account(case.namespace, "operator"))
    case.catalog = Catalog(api, [EVERY_NAMESPACE])
    try:
        await test_changes_of_other_clients_are_reverted_by_the_one_watch(case)
    finally:
        await api.close()


async def _is(condition: bool) -> bool:
    return condition
