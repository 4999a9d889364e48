"""`helm install` and `helm uninstall` on a real API server: what they leave, and what they tell to do next."""

import re
from collections.abc import Iterable, Iterator

import pytest
import yaml

from deploy.local.api import ApiError
from deploy.local.cluster import Cluster
from tests.chart.installing import create, path_of
from tests.chart.rendering import Helm, Manifest

RELEASE = "model-provisioner"


@pytest.fixture
def printed(helm: Helm, cluster: Cluster, namespace: str) -> Iterator[str]:
    """What Helm prints when it has installed a release in `namespace`."""
    place = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig))
    yield helm.run("install", RELEASE, ".", *place)
    helm.run("uninstall", RELEASE, *place, "--ignore-not-found")


def test_the_notes_give_a_manifest_that_the_server_accepts(cluster: Cluster, namespace: str, printed: str) -> None:
    written = re.search(r"<<'EOF'\n(.*?)\nEOF\n", printed, re.DOTALL)
    assert written, printed
    manifest = yaml.safe_load(written[1])
    manifest["metadata"]["namespace"] = namespace
    assert create(cluster.api, manifest, dry_run=True)["spec"]["modelRef"].startswith("hf:")


def test_the_notes_name_the_claim_the_service_and_its_port(namespace: str, printed: str) -> None:
    assert f"the claim `models` of namespace {namespace}" in printed
    assert f"port-forward -n {namespace} service/model-provisioner 8081:8081" in printed


@pytest.mark.usefixtures("printed")
def test_uninstalling_leaves_the_models_and_nothing_else(helm: Helm, cluster: Cluster, namespace: str) -> None:
    manifests = helm.render(namespace=namespace).manifests
    assert present(cluster, manifests) == {manifest["kind"] for manifest in manifests}
    helm.run("uninstall", RELEASE, "--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig))
    assert present(cluster, manifests) == {"PersistentVolumeClaim"}


def present(cluster: Cluster, manifests: Iterable[Manifest]) -> set[str]:
    """The kinds of those objects that are there and not on their way out."""
    return {manifest["kind"] for manifest in manifests if is_there(cluster, manifest)}


def is_there(cluster: Cluster, manifest: Manifest) -> bool:
    try:
        return "deletionTimestamp" not in cluster.api.get(path_of(cluster.api, manifest))["metadata"]
    except ApiError as error:
        if error.code == 404:
            return False
        raise
