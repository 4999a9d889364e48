"""What an administrator adds to worker pods, as a real API server with Pod Security `restricted` takes it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.controller.workers.pods.job_client import JobClient
from model_provisioner.controller.workers.pods.pod_settings import job_settings
from model_provisioner.controller.workers.pods.pod_states import Phase
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import KubeApi
from model_provisioner.settings.operator import OperatorSettings
from tests.support.pod_node import Document, PodNode
from tests.support.programs import eventually

TEMPLATE = {
    "labels": {"team": "ml", "app.kubernetes.io/name": "another"},
    "annotations": {"sidecar.istio.io/inject": "false"},
    "runtimeClassName": "gvisor",
    "priorityClassName": "downloads",
    "imagePullSecrets": [{"name": "registry"}],
    "serviceAccountName": "models",
    "podSecurityContext": {
        "runAsUser": 2000,
        "supplementalGroups": [3000],
        "fsGroupChangePolicy": "Always",
        "seLinuxOptions": {"level": "s0:c1,c2"},
    },
}
PRIORITY = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": -10}
RUNTIME = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "runsc"}


def jobs(api: KubeApi, template: dict[str, Any]) -> JobClient:
    settings = OperatorSettings.model_validate(
        {
            "store": ["ai/models=/models"],
            "worker_listen": "0.0.0.0:8443",
            "worker_connect": "operator:8443",
            "worker_image": "example/mp:1",
            "worker_template": json.dumps(template),
        }
    )
    client = JobClient(api, job_settings(settings))
    client.trust(b"an authority")
    return client


@pytest.fixture
def node(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[PodNode]:
    """It makes the pod of a Job, and starts no process."""
    restricted = {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    cluster.api.merge(f"/api/v1/namespaces/{namespace}", {"metadata": restricted})
    with PodNode(cluster, namespace, tmp_path, {}) as node:
        node.pending = {"phase": "Pending"}
        node.create_claim("team")
        yield node


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[KubeApi]:
    connected = await KubeApi.connect(cluster.kubeconfig)
    yield connected
    await connected.close()


async def pod_of(api: KubeApi, namespace: str, node: PodNode, template: dict[str, Any]) -> Document:
    await jobs(api, template).create(Claim(namespace, "team"))
    await asyncio.to_thread(eventually, lambda: bool(node.pods), "the pod is admitted")
    (pod,) = node.pods
    return pod


def tokens(pod: Document) -> list[Document]:
    """The tokens of service accounts that the API server mounts."""
    sources = [source for volume in pod["spec"]["volumes"] for source in volume.get("projected", {}).get("sources", ())]
    return [source["serviceAccountToken"] for source in sources if "serviceAccountToken" in source]


async def test_a_worker_pod_has_what_the_administrator_adds(
    api: KubeApi, cluster: Cluster, namespace: str, node: PodNode
) -> None:
    cluster.apply({**PRIORITY, "metadata": {"name": "downloads"}})
    cluster.apply({**RUNTIME, "metadata": {"name": "gvisor"}})
    cluster.create_service_account(namespace, "models")
    pod = await pod_of(api, namespace, node, TEMPLATE)
    spec, metadata = pod["spec"], pod["metadata"]
    assert (metadata["labels"]["team"], metadata["labels"]["app.kubernetes.io/name"]) == (
        "ml",
        "model-provisioner-worker",
    )
    assert metadata["annotations"]["sidecar.istio.io/inject"] == "false"
    assert (spec["runtimeClassName"], spec["priorityClassName"], spec["priority"]) == ("gvisor", "downloads", -10)
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["serviceAccountName"] == "models"
    assert len(tokens(pod)) == 1
    security = spec["securityContext"]
    assert {key: security[key] for key in TEMPLATE["podSecurityContext"]} == TEMPLATE["podSecurityContext"]
    assert (security["runAsNonRoot"], security["seccompProfile"]) == (True, {"type": "RuntimeDefault"})


async def test_without_an_account_there_is_no_token(api: KubeApi, namespace: str, node: PodNode) -> None:
    pod = await pod_of(api, namespace, node, {})
    assert (pod["spec"]["serviceAccountName"], tokens(pod)) == ("default", [])
    assert pod["spec"]["automountServiceAccountToken"] is False


async def test_an_account_that_does_not_exist_is_told(api: KubeApi, namespace: str, node: PodNode) -> None:
    client = jobs(api, {"serviceAccountName": "models"})
    job = await client.create(Claim(namespace, "team"))
    await asyncio.to_thread(eventually, lambda: node.refused, "the Job controller has told that it can make no pod")
    state = await client.state(job)
    assert state.phase is Phase.REFUSED
    assert 'serviceaccount "models" not found' in state.message
    assert not node.pods


async def test_a_pod_with_another_authority_or_template_is_replaced(
    api: KubeApi, namespace: str, node: PodNode
) -> None:
    client = jobs(api, {})
    job = await client.create(Claim(namespace, "team"))
    assert client.fits(job)
    assert [client.fits(found) for found in await client.find_all([namespace])] == [True]
    assert not jobs(api, {"runtimeClassName": "gvisor"}).fits(job)
    client.trust(None, "there is none")
    assert client.fits(job), "it may be the right one again"
    client.trust(b"another authority")
    assert not client.fits(job)
