"""A worker pod that is evicted, or whose node is lost, with the statuses that kubelets and controllers write.

On a real API server: the object says what they say, the next pod goes on from the journal, and two pods never write to
one claim.
"""

from pathlib import Path

from tests.controller.test_worker_pods import MIB, Pods, half, large, pods, twice
from tests.support.programs import eventually

__all__ = ["pods"]

LOW = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 51Mi."


def finish(pods: Pods, model: Path) -> None:
    """The transfer ends in the second pod, and costs little more than one in the first."""
    found = pods.bench.until("large", "Available", 120)["status"]
    assert (pods.claim / found["model"]["path"]).read_bytes() == model.read_bytes()
    assert len(pods.node.jobs) == len(pods.node.started) == 2
    assert found["attempts"] == 1, "no journalled byte came twice"
    assert twice(pods, model) <= 16 * MIB


def test_a_pod_that_its_kubelet_evicts_is_replaced(pods: Pods, tmp_path: Path) -> None:
    model, gate = large(pods, tmp_path)
    pods.start_operator()
    pods.apply("large", modelRef="hf:acme/large")
    half(pods, gate)
    pods.node.evict(LOW)
    why = f"was disrupted (TerminationByKubelet: {LOW}); what it had written is kept"
    eventually(lambda: why in pods.bench.operator_output(), "the kubelet's words")
    gate.release()
    finish(pods, model)


def test_a_pod_on_a_lost_node_is_replaced_when_it_is_gone(pods: Pods, tmp_path: Path) -> None:
    model, gate = large(pods, tmp_path)
    pods.start_operator()
    pods.apply("large", modelRef="hf:acme/large")
    half(pods, gate)
    (pod,) = pods.node.pods
    pods.node.lose_node()
    why = (
        "was disrupted (DeletionByTaintManager: Taint manager: deleting due to NoExecute taint) on node node-1; if that"
    )
    eventually(lambda: why in pods.bench.ready("large").get("message", ""), "it waits for the pod before")
    assert pods.bench.ready("large")["reason"] == "WorkerPending"
    assert [one["metadata"]["uid"] for one in pods.node.pods] == [pod["metadata"]["uid"]], (
        "two would write to one claim"
    )
    pods.node.remove_lost()
    gate.release()
    finish(pods, model)
