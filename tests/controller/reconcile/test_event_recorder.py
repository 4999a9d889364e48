"""Events on a real API server: what happens once is told once, whichever way it comes to be known."""

from datetime import UTC, datetime

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.controller.reconcile.event_recorder import EventRecorder
from model_provisioner.domain.errors import DigestMismatch
from model_provisioner.domain.lifecycle.events import Available, Event, Failed, Lost, Started
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.modeldownload import ModelDownload, Spec, Status
from model_provisioner.kube.client import KubeApi
from tests.support.samples import MODEL, NOW, after

READY: list[Event] = [Started(MODEL, 0), Available(MODEL)]
DAMAGED = Lost("the volume has damaged it; fetching it again", DigestMismatch.__name__)
GONE = Lost("it is gone; fetching it again")


@pytest.mark.parametrize(("lost", "reason"), [(DAMAGED, "DigestMismatch"), (GONE, "FileMissing")])
async def test_a_loss_is_one_event_also_where_the_status_tells_of_it(
    cluster: Cluster, namespace: str, lost: Lost, reason: str
) -> None:
    api = await KubeApi.connect(cluster.kubeconfig)
    announcer = EventRecorder(api, "me", lambda: datetime.now(UTC))
    subject = ModelDownload(namespace, "tiny", "uid", 1, "", "", False, None, Spec("hf:acme/tiny"), Status())
    await announcer.loss(subject, lost)
    await announcer.transition(subject, project(after(*READY, lost), 1, NOW, Status()))
    assert told(cluster, namespace) == {reason: 1}

    wrong_again = Failed(DigestMismatch("differs"), None)
    await announcer.transition(subject, project(after(*READY, lost, Started(MODEL, 0), wrong_again), 1, NOW, Status()))
    await api.close()
    assert told(cluster, namespace)["DigestMismatch"] == (2 if lost is DAMAGED else 1)


def told(cluster: Cluster, namespace: str) -> dict[str, int]:
    """By reason, how often each Event was told."""
    items = cluster.api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
    return {item["reason"]: item["count"] for item in items}
