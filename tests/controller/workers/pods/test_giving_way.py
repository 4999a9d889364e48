"""Which idle worker pods end for a pod that waits for their claim, as read from a real API server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.controller.workers.pods import giving_way
from model_provisioner.controller.workers.pods.giving_way import GivingWay
from model_provisioner.controller.workers.pods.job_client import WorkerJob
from model_provisioner.controller.workers.pods.manifests import JOB_LABEL
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import KubeApi
from tests.support.pod_node import PodNode


class Reader:
    """The requests of a `GivingWay` to the API server are counted."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self.giving_way = GivingWay(api)

    def job(self, claim: str) -> WorkerJob:
        return WorkerJob(Claim(self._namespace, claim), f"job-{claim}", f"uid-{claim}", "hash", "revision")

    async def find(self, *claims: str) -> tuple[dict[str, str], int]:
        """The pod for which each claim is given up, and how many requests that took."""
        before = self._api.answered.total()
        found = await self.giving_way.find([self.job(claim) for claim in claims])
        return {job.claim.name: pod for job, pod in found.items()}, self._api.answered.total() - before


@pytest.fixture
def node(cluster: Cluster, namespace: str, tmp_path: Path) -> PodNode:
    return PodNode(cluster, namespace, tmp_path, {})


@pytest.fixture
async def reader(cluster: Cluster, namespace: str) -> AsyncIterator[Reader]:
    api = await KubeApi.connect(cluster.kubeconfig)
    yield Reader(api, namespace)
    await api.close()


def worker(node: PodNode, claim: str, place: str) -> None:
    """The worker pod of `claim`, whose kubelet has not told yet that it runs."""
    node.use_claim(claim, f"job-{claim}-abc", place, phase="Pending", labels={JOB_LABEL: f"job-{claim}"})


async def test_a_pod_on_another_node_is_in_need_and_one_on_the_same_node_is_not(node: PodNode, reader: Reader) -> None:
    node.create_claim("team", "ReadWriteOnce")
    worker(node, "team", "node-1")
    assert await reader.find("team") == ({}, 2), "the claim, and the pods that have not started"
    node.use_claim("team", "near", "node-1", phase="Pending")
    node.use_claim("team", "running", "node-2")
    node.use_claim("other", "stranger", "node-2", phase="Pending")
    assert await reader.find("team") == ({}, 2), "the pods, and the node of the worker pod"
    assert await reader.find("team") == ({}, 1), "what stays is not asked again"
    node.use_claim("team", "web", "node-2", phase="Pending")
    assert await reader.find("team") == ({"team": "web"}, 1)


async def test_a_pod_without_a_node_is_in_need_unless_a_gate_holds_it(node: PodNode, reader: Reader) -> None:
    node.create_claim("team", "ReadWriteOnce")
    node.use_claim("team", "held", None, phase="Pending", gate="models.rbee.dev/model")
    assert (await reader.find("team"))[0] == {}
    node.use_claim("team", "web", None, phase="Pending")
    assert (await reader.find("team"))[0] == {"team": "web"}


async def test_any_pod_is_in_need_of_a_claim_for_one_pod(node: PodNode, reader: Reader) -> None:
    node.create_claim("team", "ReadWriteOncePod")
    worker(node, "team", "node-1")
    assert (await reader.find("team"))[0] == {}
    node.use_claim("team", "web", "node-1", phase="Pending")
    assert (await reader.find("team"))[0] == {"team": "web"}


async def test_a_claim_that_any_node_can_mount_is_read_once(node: PodNode, reader: Reader) -> None:
    node.create_claim("team")
    node.use_claim("team", "web", "node-2", phase="Pending")
    assert await reader.find("team") == ({}, 1)
    assert await reader.find("team") == ({}, 0)


async def test_a_look_is_for_a_few_claims_and_the_others_have_the_next(
    node: PodNode, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(giving_way, "_MOST", 1)
    for claim in ("a", "b"):
        node.create_claim(claim, "ReadWriteOnce")
        node.use_claim(claim, f"of-{claim}", None, phase="Pending")
    assert await reader.find("a", "b") == ({"a": "of-a"}, 2)
    assert await reader.find("a", "b") == ({"b": "of-b"}, 2)


async def test_a_claim_that_is_gone_ends_no_worker_pod(node: PodNode, reader: Reader) -> None:
    assert await reader.find("team") == ({}, 1)
