"""How a claim and the pods that use it are read, from a real API server."""

import asyncio
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.controller.workers.pods import placements
from model_provisioner.controller.workers.pods.placements import Placements
from model_provisioner.domain.errors import ProvisionError, WorkerRefused
from model_provisioner.domain.scheduling.placement import Placement
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import KubeApi
from tests.support.pod_node import PodNode


def placement(kubeconfig: Path, namespace: str) -> Placement:
    async def read() -> Placement:
        api = await KubeApi.connect(kubeconfig)
        try:
            return await Placements(api, wait_for_first_consumer=False).of(Claim(namespace, "team"))
        finally:
            await api.close()

    return asyncio.run(read())


def test_a_pod_that_uses_the_claim_is_found_among_many(
    cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placements, "_PAGE", "1")
    node = PodNode(cluster, namespace, tmp_path, {})
    node.create_claim("team", "ReadWriteOnce")
    assert placement(cluster.kubeconfig, namespace) == Placement()
    for name, claim in (("a", "other"), ("b", "team"), ("c", "other")):
        node.use_claim(claim, name, f"node-{name}")
    reason = "claim team is ReadWriteOnce, and pod b uses it on node node-b"
    assert placement(cluster.kubeconfig, namespace) == Placement("node-b", reason)


def test_a_pod_that_has_ended_does_not_use_the_claim(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    node = PodNode(cluster, namespace, tmp_path, {})
    node.create_claim("team", "ReadWriteOncePod")
    node.use_claim("team", "web", "node-2")
    cluster.api.merge(f"/api/v1/namespaces/{namespace}/pods/web/status", {"status": {"phase": "Succeeded"}})
    assert placement(cluster.kubeconfig, namespace) == Placement()


def test_a_volume_that_is_being_made_is_made_on_the_node_of_the_scheduler(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    node = PodNode(cluster, namespace, tmp_path, {})
    node.create_claim("team", "ReadWriteOnce", phase="Pending")
    selected = {"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "node-7"}}}
    cluster.api.merge(node.claim_path("team"), selected)
    assert placement(cluster.kubeconfig, namespace).node == "node-7"


def test_a_claim_that_may_not_be_read_is_told(cluster: Cluster, namespace: str) -> None:
    """As after an upgrade of the operator without that of its Roles."""
    cluster.grant(namespace, "poor", {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]})
    kubeconfig = cluster.kubeconfig_for_service_account(namespace, "poor")
    with pytest.raises(ProvisionError) as raised:
        placement(kubeconfig, namespace)
    assert type(raised.value) is WorkerRefused
    assert "no worker pod for claim team: the API server does not tell" in raised.value.message
    assert "cannot get resource" in raised.value.message
