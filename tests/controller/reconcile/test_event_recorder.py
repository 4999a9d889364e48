"""Events on a real API server: one occurrence is one Event, also if both a check and the status report it."""

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
async def test_a_loss_is_one_event_also_if_the_status_reports_it(
    cluster: Cluster, namespace: str, lost: Lost, reason: str
) -> None:
    api = await KubeApi.connect(cluster.kubeconfig)
    recorder = EventRecorder(api, "me", lambda: datetime.now(UTC))
    download = ModelDownload(namespace, "tiny", "uid", 1, "", "", False, None, Spec("hf:acme/tiny"), Status())
    await recorder.loss(download, lost)
    await recorder.transition(download, project(after(*READY, lost), 1, NOW, Status()))
    assert counts(cluster, namespace) == {reason: 1}

    wrong_again = Failed(DigestMismatch("differs"), None)
    await recorder.transition(download, project(after(*READY, lost, Started(MODEL, 0), wrong_again), 1, NOW, Status()))
    await api.close()
    assert counts(cluster, namespace)["DigestMismatch"] == (2 if lost is DAMAGED else 1)


def counts(cluster: Cluster, namespace: str) -> dict[str, int]:
    """The count of each Event, by its reason."""
    items = cluster.api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
    return {item["reason"]: item["count"] for item in items}
