"""Where the worker pod of a claim runs, on a real API server: by the claim, and by the pods that use it.

`pod_node` plays the Job controller, the scheduler and the kubelet, and the binder of claims when it is told to.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from tests.controller.test_worker_pods import Pods
from tests.support.pod_node import Document, PodNode
from tests.support.programs import eventually
from tests.support.stand import Stand


@pytest.fixture
def pods(bench: Stand, cluster: Cluster, tmp_path: Path) -> Iterator[Pods]:
    """The directories of claims are there; a test creates the claims."""
    claim = tmp_path / "team"
    claim.mkdir()
    with PodNode(cluster, bench.namespace, tmp_path, {}) as node:
        node.claims["team"] = claim
        yield Pods(bench, node, claim)


def wait(pods: Pods, reason: str, message: str) -> None:
    """Until the object waits for a reason, with a message."""
    pods.apply("tiny", modelRef="hf:acme/tiny")
    pods.bench.until("tiny", reason)
    eventually(lambda: message in pods.bench.ready("tiny")["message"], f"it waits because of {message}")
    assert not pods.node.jobs, "no Job is made"


def go_on(pods: Pods) -> None:
    """The cause is put right, and the object is told."""
    pods.bench.patch("tiny", annotations={"models.rbee.dev/reconcileAt": "now"})
    pods.bench.until("tiny", "Available")


def worker_spec(pods: Pods) -> Document:
    (pod,) = pods.node.pods
    spec: Document = pod["spec"]
    return spec


def test_a_claim_that_does_not_exist_is_told_at_once(pods: Pods) -> None:
    pods.start_operator()
    wait(pods, "ClaimNotFound", "claim team does not exist in this namespace; create it")
    pods.node.create_claim("team")
    go_on(pods)


def test_an_object_whose_claim_is_gone_goes_at_once(pods: Pods) -> None:
    pods.node.create_claim("team")
    pods.start_operator(module="tests.support.hasty_pods")
    pods.apply("tiny", modelRef="hf:acme/tiny")
    pods.bench.until("tiny", "Available")
    eventually(lambda: not pods.node.pods, "the worker pod has ended")
    pods.node.delete_claim("team")
    pods.bench.delete("tiny")
    pods.bench.until_gone("tiny")


def test_a_claim_that_is_being_deleted_gets_no_worker_pod(pods: Pods) -> None:
    """The finalizer of Kubernetes holds it as long as a pod uses it."""
    pods.node.create_claim("team")
    pods.bench.cluster.api.merge(
        pods.node.claim_path("team"), {"metadata": {"finalizers": ["kubernetes.io/pvc-protection"]}}
    )
    pods.bench.cluster.api.delete(pods.node.claim_path("team"))
    pods.start_operator()
    wait(pods, "ClaimNotFound", "claim team is being deleted")


def test_a_claim_in_use_on_one_node_has_its_worker_there(pods: Pods) -> None:
    pods.node.create_claim("team", "ReadWriteOnce")
    pods.node.use_claim("team", "web", "node-2")
    pods.start_operator()
    pods.apply("tiny", modelRef="hf:acme/tiny")
    pods.bench.until("tiny", "Available")
    assert worker_spec(pods)["nodeName"] == "node-2"


def test_a_node_that_takes_no_pod_is_named_and_left_when_the_claim_leaves_it(pods: Pods) -> None:
    pods.node.create_claim("team", "ReadWriteOnce")
    pods.node.use_claim("team", "web", "node-3")
    pods.start_operator()
    pods.apply("tiny", modelRef="hf:acme/tiny")
    pods.bench.until("tiny", "WorkerPending")
    message = "claim team is ReadWriteOnce, and pod web uses it on node node-3: no node can run it (Unschedulable: "
    eventually(lambda: message in pods.bench.ready("tiny")["message"], "the node is named")
    pods.node.end_pod("web")
    pods.bench.until("tiny", "Available")
    assert worker_spec(pods)["nodeName"] == "node-1"
    assert len(pods.node.jobs) == 2


def test_a_claim_for_one_pod_that_is_in_use_waits_for_this_pod(pods: Pods) -> None:
    pods.node.create_claim("team", "ReadWriteOncePod")
    pods.node.use_claim("team", "web", "node-2")
    pods.start_operator()
    wait(pods, "WorkerPending", "claim team is ReadWriteOncePod, and pod web uses it")
    pods.node.end_pod("web")
    go_on(pods)


@pytest.mark.parametrize(("mode", "node"), [("ReadWriteOnce", "node-2"), ("ReadWriteOncePod", None)])
def test_a_worker_without_work_makes_way_for_a_pod_that_waits(pods: Pods, mode: str, node: str | None) -> None:
    """It would else idle for a minute; the log tells them apart."""
    pods.node.create_claim("team", mode)
    operator = pods.start_operator()
    pods.apply("tiny", modelRef="hf:acme/tiny")
    pods.bench.until("tiny", "Available")
    pods.node.use_claim("team", "web", node, phase="Pending")
    eventually(lambda: not pods.node.pods, "the worker pod has ended")
    assert "has no work and ends: pod web waits for its claim" in operator.output()


def test_a_claim_without_a_volume_is_bound_by_the_worker_pod(pods: Pods) -> None:
    """As with a storage class whose volumes wait for their first consumer."""
    pods.node.create_claim("team", "ReadWriteOnce", phase="Pending")
    pods.node.pending = {"phase": "Pending"}
    pods.start_operator()
    pods.apply("tiny", modelRef="hf:acme/tiny")
    pods.bench.until("tiny", "WorkerPending")
    message = "claim team has no volume yet, and gets it where the worker pod is scheduled: node node-1 prepares it"
    eventually(lambda: message in pods.bench.ready("tiny")["message"], "the node is named")
    pods.node.pending = None
    pods.bench.until("tiny", "Available")


def test_a_claim_without_a_volume_waits_for_another_pod_if_told_to(pods: Pods) -> None:
    pods.node.create_claim("team", "ReadWriteOnce", phase="Pending")
    pods.start_operator("--worker-wait-for-first-consumer")
    wait(pods, "ClaimPending", "claim team has no volume yet; start a pod that uses it")
    pods.node.use_claim("team", "web", "node-2")
    pods.node.bind_claim("team")
    go_on(pods)
    assert worker_spec(pods)["nodeName"] == "node-2"


def test_the_worker_runs_as_the_user_that_the_claim_names(pods: Pods) -> None:
    pods.node.create_claim("team")
    annotate = {"models.rbee.dev/run-as-user": "0", "models.rbee.dev/fs-group": "2000"}
    pods.bench.cluster.api.merge(pods.node.claim_path("team"), {"metadata": {"annotations": annotate}})
    pods.start_operator()
    wait(
        pods,
        "WorkerRefused",
        "annotation models.rbee.dev/run-as-user of claim team is 0: worker pods do not run as root",
    )
    annotate["models.rbee.dev/run-as-user"] = "1000"
    pods.bench.cluster.api.merge(pods.node.claim_path("team"), {"metadata": {"annotations": annotate}})
    go_on(pods)
    security = worker_spec(pods)["securityContext"]
    assert (security["runAsUser"], security["fsGroup"], security["runAsNonRoot"]) == (1000, 2000, True)
