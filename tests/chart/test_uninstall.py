"""`helm uninstall` with the chart's hook, and without: which objects keep the operator's finalizer, and what stays.

Helm, the API server, the operator and the hook's program are real. `controllers` stands in for the rest.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from deploy.local.api import ApiError
from deploy.local.cluster import Cluster
from model_provisioner.kube.resource import FINALIZER
from tests.chart.controllers import Deployed, Jobs, at_work, create_pod
from tests.chart.installing import is_hook, path_of
from tests.chart.rendering import ROOT, Helm, HelmError, Manifest
from tests.support.ggufs import tiny_gguf, write_gguf
from tests.support.programs import eventually
from tests.support.stand import Stand, stand

RELEASE = "model-provisioner"
HOOK = f"{RELEASE}-uninstall"
POD = f"{RELEASE}-0"
SIZE = 16 * 1024**2
CLAIMS = {"PersistentVolumeClaim"}
KEPT = ("name", "namespace", "labels", "annotations")  # Helm 4 deletes only what is marked as the release's own
INSTALLING = (ROOT / "docs" / "install.md").read_text()


class Release:
    """An installed release whose operator runs, with the Ready object `ready` and the unfinished one `large`."""

    def __init__(self, helm: Helm, bench: Stand, directory: Path) -> None:
        self.helm = helm
        self.bench = bench
        self.namespace = bench.namespace
        self.cluster = bench.cluster
        self.place = ("--namespace", bench.namespace, "--kubeconfig", str(bench.cluster.kubeconfig))
        self.jobs = Jobs(bench.cluster, bench.namespace, directory)
        self.standbys: list[Deployed] = []

    def install(self, *settings: str) -> None:
        flags = [part for setting in settings for part in ("--set-json", setting)]
        self.helm.run("install", RELEASE, ".", *self.place, *flags)
        self.manifests = self.helm.render(*settings, namespace=self.namespace).manifests

    def start_operator(self, *watched: Stand) -> None:
        """Starts the operator as the Deployment's pod, with two objects here and one in each `watched` namespace.

        Which namespaces it watches is what the chart says.
        """
        gate = self.bench.hub.pause_at(SIZE // 2)
        self.deployed = self._start(POD)
        self.bench.apply("ready", modelRef="hf:acme/tiny")
        self.bench.until("ready", "Available")
        self.bench.apply("large", modelRef="hf:acme/large", reclaimPolicy="Delete")
        for one in watched:
            one.apply("there", modelRef="hf:acme/tiny")
            one.until("there", "ClaimNotMounted")
        gate.wait_reached()
        self.bench.until("large", "Downloading")

    def start_standby(self) -> None:
        """Starts a second pod of the Deployment, which waits for the Lease."""
        self.standbys.append(self._start(f"{RELEASE}-1"))

    def _start(self, pod: str) -> Deployed:
        api = self.cluster.api
        deployment = api.get(f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{RELEASE}")
        uid = create_pod(api, self.namespace, deployment["spec"]["template"], pod)
        kubeconfig = self.cluster.kubeconfig_for_service_account(self.namespace, RELEASE)
        (arguments,) = [
            one["args"] for one in deployment["spec"]["template"]["spec"]["containers"] if one["name"] == "operator"
        ]
        scope = ("--watch-namespace=", "--replicas=", "--lease-namespace=")
        flags = [argument for argument in arguments if argument.startswith(scope)]
        environment = {"POD_NAME": pod, "POD_UID": uid}
        operator = self.bench.start_operator(f"--kubeconfig={kubeconfig}", *flags, environment=environment)
        return Deployed(api, self.namespace, RELEASE, pod, operator)

    def uninstall(self, *flags: str) -> None:
        with at_work(self.jobs.poll, *(one.poll for one in (self.deployed, *self.standbys))):
            self.helm.run("uninstall", RELEASE, *self.place, *flags)

    def finalizers(self, *benches: Stand) -> dict[str, list[str]]:
        items = [item for bench in benches for item in self.cluster.api.get(bench.path("").rstrip("/"))["items"]]
        return {item["metadata"]["name"]: item["metadata"].get("finalizers", []) for item in items}

    def present(self) -> set[str]:
        """The kinds of the chart's objects that exist and are not being deleted."""
        return present(self.cluster, self.manifests)


@pytest.fixture
def release(helm: Helm, cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Release]:
    with stand(cluster, namespace, tmp_path) as bench:
        bench.hub.repository("acme/tiny").add("tiny.Q4_K_M.gguf", tiny_gguf())
        bench.hub.repository("acme/large").add("l.Q4_K_M.gguf", write_gguf(tmp_path / "l.gguf", size=SIZE))
        yield Release(helm, bench, tmp_path)


def test_objects_and_their_namespace_can_be_deleted_after_an_uninstall(release: Release) -> None:
    bench = release.bench
    with bench.neighbour(f"{bench.namespace}-other") as other:
        release.install(f'watchNamespaces=["{other.namespace}"]')
        release.start_operator(other)
        assert release.finalizers(bench, other) == {name: [FINALIZER] for name in ("ready", "large", "there")}
        catalog, files = bench.catalog(), files_of(bench)
        assert any(path.endswith(".part") for path in files), files
        release.uninstall()

        assert release.jobs.codes == [0], release.jobs.outputs
        assert release.deployed.exit_code == 0
        assert f"namespace {bench.namespace}: 2 ModelDownloads released\n" in release.jobs.outputs[0]
        assert f"namespace {other.namespace}: 1 ModelDownload released\n" in release.jobs.outputs[0]
        assert release.finalizers(bench, other) == {name: [] for name in ("ready", "large", "there")}
        assert release.present() == CLAIMS
        assert bench.catalog() == catalog != {}
        assert files_of(bench) == files

        for one in (bench, other):
            release.cluster.finish_namespace(one.namespace)
        assert files_of(bench) == files
        assert release.cluster.api.get(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/modeldownloads.models.rbee.dev"
        )


def files_of(bench: Stand) -> list[str]:
    found = (Path(parent, name) for parent, _, names in os.walk(bench.volume) for name in names)
    return sorted(str(file.relative_to(bench.volume)) for file in found)


def test_without_hooks_the_release_goes_and_the_documented_patch_lets_go_of_an_object(release: Release) -> None:
    release.install()
    release.start_operator()
    release.uninstall("--no-hooks")
    assert (release.jobs.codes, release.present()) == ([], CLAIMS)
    assert release.finalizers(release.bench) == {"ready": [FINALIZER], "large": [FINALIZER]}
    with pytest.raises(TimeoutError, match="modeldownloads/ready"):
        release.cluster.finish_namespace(release.namespace, timeout=1)
    documented = r"^kubectl patch modeldownload NAME -n models --type merge -p '(.*)'$"
    (patch,) = re.findall(documented, INSTALLING, re.MULTILINE)
    assert patch == '{"metadata": {"finalizers": null}}'
    for name in ("ready", "large"):
        release.bench.patch(name, finalizers=None)
    release.cluster.finish_namespace(release.namespace)


def test_the_value_leaves_the_hook_out(release: Release) -> None:
    release.install("uninstall.releaseObjects=false")
    assert [one for one in release.manifests if one["kind"] == "Job" or one["metadata"]["name"] == HOOK] == []
    release.start_operator()
    release.uninstall()
    assert (release.jobs.codes, release.present()) == ([], CLAIMS)
    assert release.finalizers(release.bench) == {"ready": [FINALIZER], "large": [FINALIZER]}


def test_a_hook_that_fails_leaves_the_release_and_its_log_until_the_next_uninstall(release: Release) -> None:
    release.install()
    release.start_operator()
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{release.namespace}/rolebindings/{HOOK}"
    binding = release.cluster.api.get(path)
    release.cluster.api.delete(path)
    with pytest.raises(HelmError, match=r"(?i)job.*failed"):
        release.uninstall()
    assert release.jobs.codes == [1]
    assert "cannot patch resource" in release.jobs.outputs[0].splitlines()[-1]
    assert release.present() >= {"Deployment", "Job", "Service"}
    release.cluster.apply(
        [{**binding, "kind": "RoleBinding", "metadata": {key: binding["metadata"][key] for key in KEPT}}]
    )
    release.uninstall()
    assert (release.jobs.codes, release.present()) == ([1, 0], CLAIMS)
    assert release.finalizers(release.bench) == {"ready": [], "large": []}


def test_an_uninstall_ends_the_replica_that_waits_too(release: Release) -> None:
    release.install('persistence.accessModes=["ReadWriteMany"]', "replicas=2")
    release.start_operator()
    release.start_standby()
    eventually(lambda: "waiting:" in release.bench.operator_output(), "the second one waits")
    release.uninstall()
    assert release.jobs.codes == [0], release.jobs.outputs
    assert [one.exit_code for one in (release.deployed, *release.standbys)] == [0, 0]
    assert release.finalizers(release.bench) == {"ready": [], "large": []}
    assert release.present() == CLAIMS


def test_a_release_whose_operator_never_ran_is_uninstalled(
    helm: Helm, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    place = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig))
    helm.run("install", RELEASE, ".", *place)
    manifests = helm.render(namespace=namespace).manifests
    assert present(cluster, manifests) == {manifest["kind"] for manifest in manifests if not is_hook(manifest)}
    jobs = Jobs(cluster, namespace, tmp_path)
    with at_work(jobs.poll):
        helm.run("uninstall", RELEASE, *place)
    assert (jobs.codes, present(cluster, manifests)) == ([0], CLAIMS)


def present(cluster: Cluster, manifests: Iterable[Manifest]) -> set[str]:
    """The kinds of those objects that exist and are not being deleted."""
    return {manifest["kind"] for manifest in manifests if is_there(cluster, manifest)}


def is_there(cluster: Cluster, manifest: Manifest) -> bool:
    try:
        return "deletionTimestamp" not in cluster.api.get(path_of(cluster.api, manifest))["metadata"]
    except ApiError as error:
        if error.code == 404:
            return False
        raise
