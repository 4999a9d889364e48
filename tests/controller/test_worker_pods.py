"""Models on claims that the operator does not mount: a worker pod for each, on a real API server.

`pod_node` plays the Job controller and the kubelet; the pods are real processes.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.domain.store.holders import Holder
from model_provisioner.transfer.store.store import Store
from tests.support.cable import Cable
from tests.support.conditions import condition
from tests.support.ggufs import tiny_gguf, write_gguf
from tests.support.hub import Gate
from tests.support.models import plan_of, private_files, sample
from tests.support.pod_node import PodNode
from tests.support.programs import Program, eventually, free_port
from tests.support.stand import Document, Stand

MIB = 1024**2
SIZE = 64 * MIB
PATH = "hf/acme/tiny/tiny.Q4_K_M.gguf"


class Pods:
    """A stand whose namespace has the claim `team`, which the operator does not mount."""

    def __init__(self, bench: Stand, node: PodNode, claim: Path) -> None:
        self.bench = bench
        self.node = node
        self.claim = claim
        self.address = f"127.0.0.1:{free_port()}"

    def start_operator(self, *flags: str, module: str = "model_provisioner.cli") -> Program:
        listen = [
            f"--worker-listen={self.address}",
            f"--worker-connect={self.address}",
            "--worker-image=example/mp:1",
        ]
        return self.bench.start_operator(*listen, *flags, module=module)

    def apply(self, name: str, **spec: Any) -> None:
        self.bench.apply(name, destination={"claimName": "team"}, **spec)


@pytest.fixture
def pods(bench: Stand, cluster: Cluster, tmp_path: Path) -> Iterator[Pods]:
    claim = tmp_path / "team"
    claim.mkdir()
    restricted = {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    cluster.api.merge(f"/api/v1/namespaces/{bench.namespace}", {"metadata": restricted})
    with PodNode(cluster, bench.namespace, tmp_path, {"team": claim}) as node:
        yield Pods(bench, node, claim)


def test_a_claim_that_is_not_mounted_is_served_by_one_pod(pods: Pods) -> None:
    pods.start_operator()
    for name, quantization in (("tiny", "Q4_K_M"), ("other", "Q8_0")):
        pods.apply(name, modelRef=f"hf:acme/tiny:{quantization}", reclaimPolicy="Delete")
    model = pods.bench.until("tiny", "Available")["status"]["model"]
    assert (model["path"], model["claimName"]) == (PATH, "team")
    pods.bench.until("other", "Available")
    assert (pods.claim / PATH).read_bytes() == tiny_gguf()
    assert pods.bench.published() == []
    assert pods.bench.catalog()["tiny.claim"] == "team"
    assert len(pods.node.jobs) == len(pods.node.started) == 1

    pods.bench.delete("tiny")
    pods.bench.until_gone("tiny")
    assert not (pods.claim / PATH).exists()
    assert len(pods.node.jobs) == 1


def large(pods: Pods, tmp_path: Path) -> tuple[Path, Gate]:
    """A model of which one half is sent until the gate is released."""
    model = write_gguf(tmp_path / "large.gguf", size=SIZE)
    pods.bench.hub.repository("acme/large").add("large.Q4_K_M.gguf", model)
    gate = pods.bench.hub.pause_at(SIZE // 2)
    return model, gate


def half(pods: Pods, gate: Gate) -> None:
    """Waits until half of the model is there, and the status says so, so that no byte is on its way."""
    gate.wait_reached()

    def is_there() -> bool:
        progress = pods.bench.get("large").get("status", {}).get("progress", {}).get("bytes", 0)
        return bool(progress >= pods.bench.hub.bytes_sent("large.Q4_K_M.gguf") - MIB // 2 > SIZE // 4)

    eventually(is_there, "what the hub has sent is on the volume")


def twice(pods: Pods, model: Path) -> int:
    """The bytes that were sent more than once."""
    return pods.bench.hub.bytes_sent("large.Q4_K_M.gguf") - model.stat().st_size


@pytest.mark.parametrize("fate", ["deleted", "killed"])
def test_a_pod_that_is_lost_at_half_is_replaced_and_its_bytes_are_kept(pods: Pods, tmp_path: Path, fate: str) -> None:
    model, gate = large(pods, tmp_path)
    pods.start_operator()
    pods.apply("large", modelRef="hf:acme/large")
    half(pods, gate)
    if fate == "deleted":
        pods.node.delete_pod()
    else:
        pods.node.crash()
    lost = condition(pods.bench.until("large", "WorkerLost"), "Ready")
    assert lost
    message = lost["message"]  # the status says so only until the next pod is there
    assert "what it had written is kept" in message
    assert ("was deleted" if fate == "deleted" else "OOMKilled, exit code 137") in message
    gate.release()
    found = pods.bench.until("large", "Available", 120)["status"]
    assert (pods.claim / found["model"]["path"]).read_bytes() == model.read_bytes()
    assert len(pods.node.jobs) == 2
    assert found["attempts"] == 1, "no journalled byte came twice"
    assert twice(pods, model) <= (MIB if fate == "deleted" else 16 * MIB)


@pytest.mark.parametrize("fate", ["killed", "stopped"])
def test_an_operator_that_starts_anew_keeps_the_pod(pods: Pods, tmp_path: Path, fate: str) -> None:
    model, gate = large(pods, tmp_path)
    operator = pods.start_operator()
    pods.apply("large", modelRef="hf:acme/large")
    half(pods, gate)
    if fate == "killed":
        operator.kill()
    else:
        operator.stop()
    successor = pods.start_operator()
    gate.release()
    found = pods.bench.until("large", "Available", 120)["status"]
    assert (pods.claim / found["model"]["path"]).read_bytes() == model.read_bytes()
    assert len(pods.node.jobs) == len(pods.node.started) == 1
    assert found["attempts"] == 1, "no journalled byte came twice"
    assert twice(pods, model) <= 16 * MIB
    assert successor.stop() == 0, "an operator that has taken over a pod ends, too"
    assert len(pods.node.running) == 1


def test_what_the_cluster_says_of_a_pod_that_does_not_run_is_shown(pods: Pods) -> None:
    unschedulable = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 node(s) didn't match the volume's node affinity.",
    }
    pods.node.pending = {"phase": "Pending", "conditions": [unschedulable]}
    pods.start_operator()
    pods.apply("tiny", modelRef="hf:acme/tiny")
    pods.bench.until("tiny", "WorkerPending")
    eventually(lambda: "0/3 nodes are available" in pods.bench.ready("tiny")["message"], "the scheduler's words")

    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "example/mp:1"'}
    container = {"name": "worker", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    pods.node.pending = {"conditions": [], "containerStatuses": [{**container, "state": {"waiting": waiting}}]}
    eventually(lambda: "ImagePullBackOff" in pods.bench.ready("tiny")["message"], "the kubelet's words")

    pods.node.pending = None
    pods.bench.until("tiny", "Available")
    assert len(pods.node.jobs) == 1


def test_a_pod_that_a_quota_refuses_is_told_and_tried_again(pods: Pods) -> None:
    quotas = f"/api/v1/namespaces/{pods.bench.namespace}/resourcequotas"
    api = pods.bench.cluster.api
    hard = {"hard": {"pods": "0"}}
    api.create(quotas, {"metadata": {"name": "none"}, "spec": hard})
    api.merge(f"{quotas}/none/status", {"status": {**hard, "used": {"pods": "0"}}})
    pods.start_operator()
    pods.apply("tiny", modelRef="hf:acme/tiny")
    pods.bench.until("tiny", "WorkerRefused")
    assert "exceeded quota: none" in pods.bench.ready("tiny")["message"]
    assert pods.node.started == []
    api.delete(f"{quotas}/none")
    pods.bench.until("tiny", "Available")


def test_an_object_that_never_had_a_pod_goes_at_once(pods: Pods) -> None:
    pods.node.pending = {"phase": "Pending"}
    pods.start_operator()
    pods.apply("tiny", modelRef="hf:acme/tiny")
    pods.bench.until("tiny", "WorkerPending")
    pods.bench.delete("tiny")
    pods.bench.until_gone("tiny")


def test_an_object_of_a_namespace_that_is_being_deleted_goes_without_a_pod(pods: Pods, cluster: Cluster) -> None:
    pods.start_operator(module="tests.support.hasty_pods")
    pods.apply("tiny", modelRef="hf:acme/tiny")
    pods.bench.until("tiny", "Available")
    eventually(lambda: not pods.node.running and not pods.node.pods, "the pod has ended")
    cluster.api.delete(f"/api/v1/namespaces/{pods.bench.namespace}")
    pods.bench.delete("tiny")
    pods.bench.until_gone("tiny")
    assert len(pods.node.jobs) == 1


def test_the_store_is_swept_when_a_pod_has_connected(pods: Pods) -> None:
    with Store.open(pods.claim, None) as store:
        store.records.settle(
            Holder("uid-gone", pods.bench.namespace, "gone"), plan_of(sample("hf/acme/gone/gone.gguf"))
        )
    pods.start_operator()
    pods.apply("tiny", modelRef="hf:acme/tiny")
    found = pods.bench.until("tiny", "Available")["metadata"]["uid"]
    eventually(lambda: private_files(pods.claim, "holders") == {f"{found}.json"}, "the record is swept")


def test_a_pod_without_work_is_ended_and_comes_again(pods: Pods) -> None:
    pods.start_operator(module="tests.support.hasty_pods")
    pods.apply("tiny", modelRef="hf:acme/tiny")
    pods.bench.until("tiny", "Available")
    eventually(lambda: not pods.node.running and not pods.node.pods, "the pod has ended")
    assert pods.node.started[0].process.returncode in {0, 143}, "it was told to end, and its Job was deleted"
    pods.apply("other", modelRef="hf:acme/tiny:Q8_0")
    pods.bench.until("other", "Available")
    assert len(pods.node.started) == 2


def test_a_file_that_is_on_the_claim_is_verified_and_catalogued(pods: Pods) -> None:
    (pods.claim / "local").mkdir()
    (pods.claim / "local/mine.gguf").write_bytes(tiny_gguf())
    pods.start_operator()
    pods.apply("mine", modelRef="local:mine.gguf")
    model = pods.bench.until("mine", "Available")["status"]["model"]
    assert (model["path"], model["digestSource"]) == ("local/mine.gguf", "Computed")


def test_a_cut_connection_costs_no_byte(pods: Pods, tmp_path: Path) -> None:
    model, gate = large(pods, tmp_path)
    with Cable(pods.address) as cable:
        pods.start_operator(f"--worker-connect=127.0.0.1:{cable.port}")
        pods.apply("large", modelRef="hf:acme/large")
        half(pods, gate)
        cable.cut()
        gate.release()
        path = pods.claim / "hf/acme/large/large.Q4_K_M.gguf"
        eventually(path.exists, "the worker goes on without the operator")
        assert pods.bench.ready("large")["reason"] == "Downloading"
        cable.mend()
        found = pods.bench.until("large", "Available")["status"]
    assert found["attempts"] == 1
    assert path.read_bytes() == model.read_bytes()
    assert twice(pods, model) == 0
    assert len(pods.node.jobs) == len(pods.node.started) == 1
    reasons = {condition["reason"] for version in pods.bench.history.of("large") for condition in conditions(version)}
    assert "WorkerLost" not in reasons


def conditions(version: Document) -> list[Document]:
    found: list[Document] = (version.get("status") or {}).get("conditions") or []
    return found


def test_a_fetch_in_a_pod_is_limited_paused_and_verified_as_any_other(pods: Pods, tmp_path: Path) -> None:
    model, gate = large(pods, tmp_path)
    gate.release()
    pods.start_operator()
    pods.apply("large", modelRef="hf:acme/large", maxBytesPerSecond="1Mi")
    eventually(
        lambda: pods.bench.get("large").get("status", {}).get("progress", {}).get("bytes", 0) > 0, "a byte is there"
    )
    pods.bench.patch("large", {"suspend": True})
    pods.bench.until("large", "Suspended")
    paused = pods.bench.hub.bytes_sent("large.Q4_K_M.gguf")
    assert paused < SIZE // 2
    pods.bench.patch("large", {"suspend": False})
    pods.bench.until("large", "Downloading")
    pods.bench.patch("large", {"maxBytesPerSecond": None})
    status = pods.bench.until("large", "Available")["status"]
    assert status["attempts"] == 1
    assert twice(pods, model) <= 16 * MIB

    path = pods.claim / status["model"]["path"]
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"wrong")
    pods.bench.patch("large", annotations={"models.rbee.dev/verifyAt": "now"})
    eventually(
        lambda: pods.bench.get("large")["status"]["attempts"] > 1 and pods.bench.ready("large")["status"] == "True",
        "the wrong file was fetched anew",
    )
    assert path.read_bytes() == model.read_bytes()
