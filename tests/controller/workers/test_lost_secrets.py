"""Secrets that are lost or changed, of a pod and of the door: the pod is replaced, and nothing waits in vain.

On a real API server; `pod_node` plays the kubelet, which starts no pod without its Secret.
"""

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.api import Api
from deploy.local.cluster import Cluster
from tests.controller.test_worker_pods import MIB, Pods, half, large, pods, twice
from tests.support.pod_node import Document
from tests.support.programs import eventually

__all__ = ["pods"]


def secret_path(pods: Pods) -> str:
    (pod,) = pods.node.pods
    (name,) = (volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if volume["name"] == "worker")
    return f"/api/v1/namespaces/{pods.bench.namespace}/secrets/{name}"


def delete(pods: Pods, path: str) -> None:
    pods.bench.cluster.api.delete(path)


def replace(pods: Pods, path: str) -> None:
    """A tenant's Secret takes the place of the operator's."""
    api = pods.bench.cluster.api
    data: Document = {**api.get(path)["data"], "token": base64.b64encode(b"another").decode()}
    delete(pods, path)
    api.create(path.rpartition("/")[0], {"metadata": {"name": path.rpartition("/")[2]}, "data": data})


@pytest.mark.parametrize(
    ("change", "restarts"), [(replace, False), (delete, True)], ids=["same operator, changed", "next operator, deleted"]
)
def test_a_job_without_its_secret_is_replaced(
    pods: Pods, change: Callable[[Pods, str], None], *, restarts: bool
) -> None:
    pods.node.pending = {"phase": "Pending"}
    operator = pods.start_operator()
    pods.apply("tiny", modelRef="hf:acme/tiny")
    eventually(lambda: len(pods.node.pods) == 1, "there is a pod")
    path = secret_path(pods)
    eventually(lambda: pods.bench.cluster.api.exists(path), "it has a Secret")
    pods.bench.until("tiny", "WorkerPending")
    if restarts:
        operator.kill()  # as it is between the Job and the Secret
    change(pods, path)
    if restarts:
        pods.start_operator()
    eventually(lambda: len(pods.node.jobs) == 2, "there is another Job")
    pods.node.pending = None
    pods.bench.until("tiny", "Available")
    why = "does not exist" if change is delete else "has another token than its Job says"
    assert f"its Secret {why}, so that it can't connect" in pods.bench.operator_output()
    assert len(pods.node.started) == 1


def foreign(path: str, api: Api) -> None:
    api.merge(path, {"data": None, "stringData": {"tls.crt": "of another program"}})


def deleted(path: str, api: Api) -> None:
    api.delete(path)


@pytest.mark.parametrize("change", [deleted, foreign])
def test_an_authority_that_is_lost_while_the_operator_is_down_costs_a_pod_and_no_model(
    pods: Pods, cluster: Cluster, change: Callable[[str, Api], None]
) -> None:
    operator = pods.start_operator()
    pods.apply("tiny", modelRef="hf:acme/tiny")
    pods.bench.until("tiny", "Available")
    path = f"/api/v1/namespaces/{pods.bench.namespace}/secrets/model-provisioner-workers-ca"
    before = cluster.api.get(path)
    operator.kill()
    change(path, cluster.api)
    pods.start_operator()
    pods.apply("other", modelRef="hf:acme/tiny:Q8_0")
    pods.bench.until("other", "Available")
    assert len(pods.node.started) == 2
    after = cluster.api.get(path)["data"]
    assert {"ca.crt", "ca.key"} <= after.keys()
    assert after["ca.crt"] != before["data"]["ca.crt"]
    eventually(lambda: len(pods.node.running) == 1, "the pod before has ended")


def test_what_a_pod_has_fetched_outlives_the_authority(pods: Pods, cluster: Cluster, tmp_path: Path) -> None:
    """The operator that starts trusts no pod of the authority before; the next pod goes on from the journal."""
    model, gate = large(pods, tmp_path)
    operator = pods.start_operator()
    pods.apply("large", modelRef="hf:acme/large")
    half(pods, gate)
    operator.kill()
    cluster.api.delete(f"/api/v1/namespaces/{pods.bench.namespace}/secrets/model-provisioner-workers-ca")
    pods.start_operator()
    eventually(lambda: len(pods.node.jobs) == 2, "there is another Job")
    gate.release()
    found = pods.bench.until("large", "Available", 120)["status"]
    assert (pods.claim / found["model"]["path"]).read_bytes() == model.read_bytes()
    assert found["attempts"] == 1, "no journalled byte came twice"
    assert twice(pods, model) <= 16 * MIB
