"""What scheduler, kubelet and Job controller say of a pod, as the object shows it."""

from typing import Any

import pytest

from model_provisioner.controller.workers.pods.pod_states import Phase, state_of

Document = dict[str, Any]
JOB: Document = {"metadata": {"name": "worker"}, "status": {}}


def pod(**status: Any) -> Document:
    return {"metadata": {"name": "w-1"}, "spec": {"nodeName": "n1"}, "status": status}


def container(**state: Any) -> list[Document]:
    return [{"name": "worker", "state": state}]


def condition(kind: str, status: str, reason: str, message: str) -> list[Document]:
    return [{"type": kind, "status": status, "reason": reason, "message": message}]


PODS: list[tuple[str, Document, Phase, str]] = [
    ("new", pod(), Phase.PENDING, "node n1 prepares it"),
    (
        "unschedulable",
        pod(
            phase="Pending", conditions=condition("PodScheduled", "False", "Unschedulable", "0/3 nodes\nare available")
        ),
        Phase.PENDING,
        "no node can run it (Unschedulable: 0/3 nodes are available)",
    ),
    (
        "no image",
        pod(
            phase="Pending", containerStatuses=container(waiting={"reason": "ErrImagePull", "message": "no such image"})
        ),
        Phase.PENDING,
        "its container can't start (ErrImagePull: no such image)",
    ),
    (
        "creating",
        pod(phase="Pending", containerStatuses=container(waiting={"reason": "ContainerCreating"})),
        Phase.PENDING,
        "node n1 prepares it",
    ),
    ("runs", pod(phase="Running"), Phase.RUNNING, "it runs on node n1 and has not connected"),
    (
        "evicted",
        pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
        Phase.ENDED,
        "pod w-1 has failed (Evicted: The node was low on resource: memory.)",
    ),
    (
        "out of memory",
        pod(phase="Failed", containerStatuses=container(terminated={"reason": "OOMKilled", "exitCode": 137})),
        Phase.ENDED,
        "pod w-1 has ended (OOMKilled, exit code 137)",
    ),
    (
        "node lost",
        pod(phase="Failed", conditions=condition("DisruptionTarget", "True", "DeletionByTaintManager", "unreachable")),
        Phase.ENDED,
        "pod w-1 was disrupted (DeletionByTaintManager: unreachable)",
    ),
    (
        "node silent",
        pod(phase="Unknown", reason="NodeLost", message="Node n1 which was running pod w-1 is unresponsive"),
        Phase.RUNNING,
        "node n1 does not tell what became of it (NodeLost: Node n1 which was running pod w-1 is unresponsive)",
    ),
    ("done", pod(phase="Succeeded"), Phase.ENDED, "pod w-1 has ended"),
]


@pytest.mark.parametrize(("document", "phase", "message"), [row[1:] for row in PODS], ids=[row[0] for row in PODS])
def test_the_pod_says(document: Document, phase: Phase, message: str) -> None:
    found = state_of(JOB, [document], ())
    assert (found.phase, found.message) == (phase, message)


def test_a_deleted_pod_counts_as_ended_at_once() -> None:
    document = pod(phase="Running")
    document["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert state_of(JOB, [document], ()).message == "pod w-1 was deleted"


def test_without_a_pod_the_job_says() -> None:
    assert state_of(JOB, (), ()).phase is Phase.PENDING
    assert state_of(None, (), ()).phase is Phase.ENDED
    failed = {**JOB, "status": {"conditions": condition("Failed", "True", "BackoffLimitExceeded", "too many")}}
    assert state_of(failed, (), ()).message == "its Job has failed (BackoffLimitExceeded: too many)"
    events = [
        {"metadata": {"resourceVersion": str(number)}, "reason": "FailedCreate", "message": text}
        for number, text in ((9, "first"), (10, 'pods "w" is forbidden: exceeded quota'))
    ]
    refused = state_of(JOB, (), events)
    assert (refused.phase, refused.message) == (Phase.REFUSED, 'pods "w" is forbidden: exceeded quota')


def test_a_text_of_the_cluster_is_shortened() -> None:
    assert len(state_of(JOB, [pod(phase="Failed", reason="x" * 5000, message="y" * 5000)], ()).message) < 1000
