"""`model-provisioner release` on a real API server: which finalizers go, which stay, and what it does not wait for.

There is no Deployment controller here: the tests remove the pods that it would end.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from deploy.local.cluster import Cluster
from model_provisioner.controller.release import uninstall
from model_provisioner.controller.release.uninstall import NotReleased, release
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.resource import FINALIZER, collection_path, lease_collection_path, pod_collection_path
from model_provisioner.settings.release import ReleaseSettings
from tests.support.api_proxy import ApiProxy, Asked
from tests.support.programs import Program, eventually, running

OPERATOR = "the-operator"
FOREIGN = "example.com/backup"
KOPFS_DEFAULT = "kopf.zalando.org/KopfFinalizerMarker"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"
MANY = 1000


class Site:
    """A namespace with a Deployment of an operator, and the objects that a test puts there."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    @property
    def deployment_path(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{OPERATOR}"

    def deploy(self) -> None:
        labels = {"app": OPERATOR}
        spec = {"containers": [{"name": "operator", "image": "model-provisioner"}]}
        template = {"metadata": {"labels": labels}, "spec": spec}
        document = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
        path = self.deployment_path.rpartition("/")[0]
        self.cluster.api.create(path, {"metadata": {"name": OPERATOR}, "spec": document})

    def create_pod(self, name: str) -> None:
        spec = {"containers": [{"name": "operator", "image": "model-provisioner"}]}
        metadata = {"name": name, "labels": {"app": OPERATOR}}
        self.cluster.api.create(pod_collection_path(self.namespace), {"metadata": metadata, "spec": spec})

    def remove_pod(self, name: str) -> None:
        path = f"{pod_collection_path(self.namespace)}/{name}"
        self.cluster.api.request("DELETE", path, {"gracePeriodSeconds": 0})

    def create(self, name: str, *finalizers: str) -> None:
        metadata = {"name": name, "finalizers": list(finalizers)}
        body = {"apiVersion": "models.rbee.dev/v1alpha1", "kind": "ModelDownload", "metadata": metadata}
        self.cluster.api.create(collection_path(self.namespace), {**body, "spec": {"modelRef": "hf:acme/tiny"}})

    def change(self, name: str, **metadata: Any) -> None:
        self.cluster.api.merge(f"{collection_path(self.namespace)}/{name}", {"metadata": metadata})

    def delete(self, name: str) -> None:
        self.cluster.api.delete(f"{collection_path(self.namespace)}/{name}")

    def finalizers(self) -> dict[str, list[str]]:
        """The finalizers of each object that exists, by its name."""
        items = self.cluster.api.get(collection_path(self.namespace))["items"]
        return {item["metadata"]["name"]: item["metadata"].get("finalizers", []) for item in items}

    def replicas(self) -> int:
        return int(self.cluster.api.get(self.deployment_path)["spec"]["replicas"])

    def lease(self) -> dict[str, Any]:
        path = f"{lease_collection_path(self.namespace)}/model-provisioner"
        spec: dict[str, Any] = self.cluster.api.get(path)["spec"]
        return spec

    def hold_lease(self, holder: str) -> None:
        spec = {"holderIdentity": holder, "leaseDurationSeconds": 60, "leaseTransitions": 4}
        metadata = {"name": "model-provisioner"}
        self.cluster.api.create(lease_collection_path(self.namespace), {"metadata": metadata, "spec": spec})


@pytest.fixture
def home(cluster: Cluster, namespace: str) -> Site:
    """The namespace of the release."""
    site = Site(cluster, namespace)
    site.deploy()
    return site


@pytest.fixture
def other(cluster: Cluster, namespace: str) -> Site:
    """A further watched namespace."""
    cluster.create_namespace(f"{namespace}-other")
    return Site(cluster, f"{namespace}-other")


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[ApiProxy]:
    with ApiProxy(cluster) as made:
        yield made


@pytest_asyncio.fixture
async def api(cluster: Cluster) -> AsyncIterator[KubeApi]:
    client = await KubeApi.connect(cluster.kubeconfig)
    yield client
    await client.close()


def flags(kubeconfig: Path, home: Site, *watched: Site) -> list[str]:
    watch = [f"--watch-namespace={site.namespace}" for site in watched]
    own = [f"--namespace={home.namespace}", f"--deployment={OPERATOR}"]
    return ["release", *own, *watch, f"--kubeconfig={kubeconfig}"]


def settings(home: Site, *watched: Site) -> ReleaseSettings:
    names = [site.namespace for site in watched]
    return ReleaseSettings(namespace=home.namespace, deployment=OPERATOR, watch_namespace=names)


def run(kubeconfig: Path, tmp_path: Path, *sites: Site) -> tuple[int, str]:
    """Runs the command for the watched `sites`, the first of which is the release's; returns exit code and output."""
    program = Program(flags(kubeconfig, sites[0], *sites), tmp_path / "release.log")
    return program.process.wait(120), program.output()


def test_all_namespaces_are_released_by_one_list(home: Site, other: Site, cluster: Cluster, tmp_path: Path) -> None:
    for site in (home, other):
        site.create("one", FINALIZER, FOREIGN)
    program = Program([*flags(cluster.kubeconfig, home), "--watch-namespace=*"], tmp_path / "release.log")
    assert program.process.wait(120) == 0, program.output()
    assert re.search(r"^all namespaces: \d+ ModelDownloads released", program.output(), re.MULTILINE)
    assert home.finalizers() == other.finalizers() == {"one": [FOREIGN]}


def test_without_the_cluster_role_nothing_counts_as_released(home: Site, cluster: Cluster, tmp_path: Path) -> None:
    rules = [
        {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
    ]
    for number, rule in enumerate(rules):
        cluster.grant(home.namespace, f"hook-{number}", rule)
    kubeconfig = cluster.kubeconfig_for_service_account(home.namespace, "hook-0")
    for number in range(1, len(rules)):
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{home.namespace}/rolebindings/hook-{number}"
        cluster.api.merge(
            path, {"subjects": [{"kind": "ServiceAccount", "name": "hook-0", "namespace": home.namespace}]}
        )
    program = Program([*flags(kubeconfig, home), "--watch-namespace=*"], tmp_path / "release.log")
    assert program.process.wait(120) == 1
    assert "all namespaces: " in program.output().splitlines()[-1]


def patches_of_objects(asked: Asked) -> bool:
    return asked.method == "PATCH" and "/modeldownloads/" in asked.path


def lists_of_objects(asked: Asked) -> bool:
    return asked.method == "GET" and asked.path.endswith("/modeldownloads")


def test_our_finalizer_goes_in_every_watched_namespace_and_those_of_other_programs_stay(
    cluster: Cluster, home: Site, other: Site, tmp_path: Path
) -> None:
    home.create("plain", FINALIZER)
    home.create("shared", FOREIGN, FINALIZER, KOPFS_DEFAULT)
    home.create("twice", FINALIZER, FOREIGN, FINALIZER)
    home.create("foreign", FOREIGN)
    home.create("none")
    for name, finalizers in (("going", [FINALIZER]), ("kept", [FINALIZER, FOREIGN]), ("stays", [FINALIZER])):
        other.create(name, *finalizers)
    other.delete("going")
    other.delete("kept")
    code, said = run(cluster.kubeconfig, tmp_path, home, other)
    assert code == 0, said
    assert home.finalizers() == {
        "plain": [],
        "shared": [FOREIGN, KOPFS_DEFAULT],
        "twice": [FOREIGN],
        "foreign": [FOREIGN],
        "none": [],
    }
    assert other.finalizers() == {"kept": [FOREIGN], "stays": []}
    assert f"namespace {home.namespace}: 3 ModelDownloads released\n" in said
    counted = "3 ModelDownloads released, 2 of them being deleted: their files stay on the volume"
    assert f"namespace {other.namespace}: {counted}\n" in said


def test_the_operator_is_scaled_to_zero_and_the_lease_is_free_afterwards(
    cluster: Cluster, home: Site, tmp_path: Path
) -> None:
    code, said = run(cluster.kubeconfig, tmp_path, home)
    assert (code, home.replicas()) == (0, 0), said
    assert home.lease()["holderIdentity"] == ""
    assert f"namespace {home.namespace}: 0 ModelDownloads released\n" in said


def test_a_release_without_its_deployment_is_released_too(cluster: Cluster, home: Site, tmp_path: Path) -> None:
    cluster.api.delete(home.deployment_path)
    home.create("one", FINALIZER)
    code, said = run(cluster.kubeconfig, tmp_path, home)
    assert (code, home.finalizers()) == (0, {"one": []}), said


def test_nothing_is_released_while_a_pod_of_the_operator_runs(cluster: Cluster, home: Site, tmp_path: Path) -> None:
    home.create("one", FINALIZER)
    home.create_pod("operator-0")
    with running(flags(cluster.kubeconfig, home, home), tmp_path / "release.log") as program:
        eventually(lambda: home.replicas() == 0, "the Deployment is scaled")
        eventually(lambda: lease_is_held(home), "the Lease is held")
        assert home.finalizers() == {"one": [FINALIZER]}
        assert program.process.poll() is None
        home.remove_pod("operator-0")
        assert program.process.wait(60) == 0, program.output()
    assert home.finalizers() == {"one": []}


def lease_is_held(site: Site) -> bool:
    items = site.cluster.api.get(lease_collection_path(site.namespace))["items"]
    return any(item["spec"]["holderIdentity"] for item in items)


async def test_a_pod_that_does_not_end_is_not_waited_for_to_the_end(
    home: Site, api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uninstall, "_PODS_SECONDS", 0.5)
    home.create("one", FINALIZER)
    home.create_pod("operator-0")
    said: list[str] = []
    await release(api, settings(home), said.append, 30)
    assert home.finalizers() == {"one": []}


async def test_nothing_is_released_while_another_process_holds_the_lease(home: Site, api: KubeApi) -> None:
    home.create("one", FINALIZER)
    home.hold_lease("elsewhere")
    with pytest.raises(NotReleased, match=r"Lease is still held.*Run `helm uninstall` again.*--no-hooks"):
        await release(api, settings(home), print, 3)
    assert home.finalizers() == {"one": [FINALIZER]}
    assert home.lease()["holderIdentity"] == "elsewhere"


def test_another_operator_waits_while_objects_are_released(home: Site, proxy: ApiProxy, tmp_path: Path) -> None:
    home.create("one", FINALIZER)
    config = proxy.kubeconfig(tmp_path / "config")
    holders: list[str] = []

    def look() -> bool:
        holders.append(home.lease()["holderIdentity"])
        return True

    with proxy.at(0, patches_of_objects, look, after=False):
        code, said = run(config, tmp_path, home)
    assert code == 0, said
    assert [bool(holder) for holder in holders] == [True]


@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_a_refused_patch_is_sent_again(home: Site, proxy: ApiProxy, tmp_path: Path, status: int) -> None:
    home.create("one", FINALIZER)
    home.create("two", FINALIZER)
    config = proxy.kubeconfig(tmp_path / "config")
    with proxy.answering(status, patches_of_objects, times=3) as fault:
        code, said = run(config, tmp_path, home)
    assert (code, fault.hits) == (0, 3), said
    assert home.finalizers() == {"one": [], "two": []}
    assert f"namespace {home.namespace}: 2 ModelDownloads released\n" in said


@pytest.mark.parametrize("status", [410, 429, 500])
def test_a_list_that_fails_is_begun_anew(home: Site, proxy: ApiProxy, tmp_path: Path, status: int) -> None:
    home.create("one", FINALIZER)
    config = proxy.kubeconfig(tmp_path / "config")
    with proxy.answering(status, lists_of_objects, times=2) as fault:
        code, said = run(config, tmp_path, home)
    assert (code, fault.hits, home.finalizers()) == (0, 2, {"one": []}), said


def test_finalizers_that_change_between_list_and_patch(home: Site, proxy: ApiProxy, tmp_path: Path) -> None:
    """The place of ours in the list is another one then: no other finalizer may go in its stead."""
    home.create("one", FINALIZER)
    home.create("two", FINALIZER)
    config = proxy.kubeconfig(tmp_path / "config")

    def meddle() -> bool:
        home.change("one", finalizers=[FOREIGN, FINALIZER])
        home.change("two", annotations={"a": "b"})
        return True

    with proxy.at(0, lists_of_objects, meddle, after=True):
        code, said = run(config, tmp_path, home)
    assert (code, home.finalizers()) == (0, {"one": [FOREIGN], "two": []}), said
    refused = [answer for asked, answer in proxy.answers if patches_of_objects(asked) and answer != 200]
    assert refused == [422], "a write to another field is no conflict"


def test_an_object_that_is_created_or_goes_meanwhile(home: Site, proxy: ApiProxy, tmp_path: Path) -> None:
    for name in ("one", "two"):
        home.create(name, FINALIZER)
    config = proxy.kubeconfig(tmp_path / "config")

    def meddle() -> bool:
        home.change("two", finalizers=[])
        home.delete("two")
        home.create("late", FINALIZER)
        return True

    with proxy.at(0, lists_of_objects, meddle, after=True):
        code, said = run(config, tmp_path, home)
    assert (code, home.finalizers()) == (0, {"one": [], "late": []}), said


async def test_a_namespace_that_never_ends_keeps_no_other_one_and_is_named(
    home: Site, other: Site, proxy: ApiProxy, tmp_path: Path
) -> None:
    """As an author does who creates objects with our finalizer in a loop."""
    home.create("one", FINALIZER)
    other.create("again", FINALIZER)

    def put_it_back() -> bool:
        other.change("again", finalizers=[FINALIZER])
        return True

    def lists_of_other(asked: Asked) -> bool:
        return lists_of_objects(asked) and f"/{other.namespace}/" in asked.path

    api = await KubeApi.connect(proxy.kubeconfig(tmp_path / "config"))
    said: list[str] = []
    try:
        with (
            proxy.at(None, lists_of_other, put_it_back, after=False) as lists,
            pytest.raises(NotReleased) as raised,
        ):
            await release(api, settings(home, home, other), said.append, 5)
    finally:
        await api.close()
    assert lists.hits > 1
    assert f"namespace {other.namespace}: its objects get the finalizer again" in str(raised.value)
    assert home.namespace + ":" not in str(raised.value)
    assert home.finalizers() == {"one": []}
    assert said[0] == f"namespace {home.namespace}: 1 ModelDownload released"


async def test_an_object_that_cannot_be_patched_is_named(home: Site, proxy: ApiProxy, tmp_path: Path) -> None:
    home.create("one", FINALIZER)
    api = await KubeApi.connect(proxy.kubeconfig(tmp_path / "config"))
    try:
        with (
            proxy.answering(500, patches_of_objects),
            pytest.raises(NotReleased, match="one is not released: scripted: InternalError"),
        ):
            await release(api, settings(home), print, 3)
    finally:
        await api.close()
    assert home.lease()["holderIdentity"] == ""


def granted(cluster: Cluster, home: Site, *namespaces: str) -> Path:
    """The kubeconfig of an account that may do everything in the home namespace, and in `namespaces`."""
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    cluster.grant(home.namespace, OPERATOR, rule)
    for kind in ("Role", "RoleBinding") if namespaces else ():
        found = cluster.api.get(f"{RBAC}/{home.namespace}/{kind.lower()}s/{OPERATOR}")
        for namespace in namespaces:
            cluster.apply([{**found, "kind": kind, "metadata": {"name": OPERATOR, "namespace": namespace}}])
    return cluster.kubeconfig_for_service_account(home.namespace, OPERATOR)


def test_a_namespace_that_is_being_deleted_is_released(
    cluster: Cluster, home: Site, other: Site, tmp_path: Path
) -> None:
    kubeconfig = granted(cluster, home, other.namespace)
    other.create("one", FINALIZER)
    cluster.api.delete(f"/api/v1/namespaces/{other.namespace}")
    other.delete("one")
    code, said = run(kubeconfig, tmp_path, home, other)
    assert (code, other.finalizers()) == (0, {}), said


def test_a_namespace_that_is_gone_or_refuses_us_is_told_and_left_out(
    cluster: Cluster, home: Site, other: Site, tmp_path: Path
) -> None:
    kubeconfig = granted(cluster, home)
    home.create("one", FINALIZER)
    other.create("two", FINALIZER)
    gone = Site(cluster, f"{home.namespace}-gone")
    code, said = run(kubeconfig, tmp_path, home, other, gone)
    assert (code, home.finalizers()) == (0, {"one": []}), said
    for site in (other, gone):
        assert f"namespace {site.namespace}: 0 ModelDownloads released; left out: " in said
    assert "cannot list resource" in said


def test_an_account_without_rights_at_home_fails_with_the_reason(cluster: Cluster, home: Site, tmp_path: Path) -> None:
    scaling = {"apiGroups": ["apps", "coordination.k8s.io", ""], "resources": ["*"], "verbs": ["*"]}
    cluster.grant(home.namespace, OPERATOR, scaling)
    home.create("one", FINALIZER)
    kubeconfig = cluster.kubeconfig_for_service_account(home.namespace, OPERATOR)
    code, said = run(kubeconfig, tmp_path, home)
    assert (code, home.finalizers()) == (1, {"one": [FINALIZER]}), said
    last = said.splitlines()[-1]
    assert last.startswith(f"model-provisioner release: namespace {home.namespace}: modeldownloads")
    assert "Run `helm uninstall` again" in last
    assert "Traceback" not in said


def test_an_account_that_may_not_scale_fails_before_anything_is_released(
    cluster: Cluster, home: Site, tmp_path: Path
) -> None:
    models = {"apiGroups": ["models.rbee.dev"], "resources": ["*"], "verbs": ["*"]}
    cluster.grant(home.namespace, OPERATOR, models)
    home.create("one", FINALIZER)
    kubeconfig = cluster.kubeconfig_for_service_account(home.namespace, OPERATOR)
    code, said = run(kubeconfig, tmp_path, home)
    assert (code, home.finalizers()) == (1, {"one": [FINALIZER]}), said
    assert "deployments.apps" in said.splitlines()[-1]


def test_sigterm_ends_it_and_gives_the_lease_up(cluster: Cluster, home: Site, tmp_path: Path) -> None:
    home.create_pod("operator-0")
    program = Program(flags(cluster.kubeconfig, home, home), tmp_path / "release.log")
    eventually(lambda: lease_is_held(home), "the Lease is held")
    assert program.stop() == 1
    assert "stopped by a signal" in program.output().splitlines()[-1]
    assert home.lease()["holderIdentity"] == ""


async def test_a_cluster_without_the_resource_has_no_objects(home: Site, proxy: ApiProxy, tmp_path: Path) -> None:
    api = await KubeApi.connect(proxy.kubeconfig(tmp_path / "config"))
    said: list[str] = []
    try:
        with proxy.answering(404, lists_of_objects):
            await release(api, settings(home), said.append, 10)
    finally:
        await api.close()
    assert said == [f"namespace {home.namespace}: 0 ModelDownloads released"]


async def test_a_thousand_objects_take_a_part_of_the_time(home: Site, api: KubeApi) -> None:
    metadata = {"finalizers": [FINALIZER]}
    body = {"apiVersion": "models.rbee.dev/v1alpha1", "kind": "ModelDownload", "spec": {"modelRef": "hf:acme/tiny"}}
    names = [f"object-{number}" for number in range(MANY)]
    await asyncio.gather(
        *(
            api.create(collection_path(home.namespace), {**body, "metadata": {**metadata, "name": name}})
            for name in names
        )
    )
    said: list[str] = []
    await release(api, settings(home), said.append, 60)
    assert said == [f"namespace {home.namespace}: {MANY} ModelDownloads released"]
    assert len(home.finalizers()) == MANY
    assert not any(home.finalizers().values())
