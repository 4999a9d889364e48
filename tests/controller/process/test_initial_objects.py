"""The objects of the first lists, as they are when the operator begins to act."""

from typing import Any

from model_provisioner.controller.process.initial_objects import InitialObjects
from model_provisioner.controller.reconcile.settled_objects import unpacked
from model_provisioner.domain.lifecycle.events import Available, Resolved, Started
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.modeldownload import Status
from model_provisioner.kube.resource import status_document
from tests.support.samples import MODEL, NOW, after


def document(uid: str, version: int, *, ready: bool = False, ref: str = "hf:a/b") -> dict[str, Any]:
    events = (Resolved(MODEL), Started(MODEL, 0), Available(MODEL)) if ready else (Resolved(MODEL),)
    status = status_document(project(after(*events), 1, NOW, Status()))
    metadata = {"namespace": "models", "name": uid, "uid": uid, "resourceVersion": str(version), "generation": 1}
    return {"metadata": metadata, "spec": {"modelRef": ref}, "status": status}


def test_the_newest_version_counts_and_a_deleted_object_is_left_out() -> None:
    initial = InitialObjects()
    for kind, version in (("ADDED", 1), ("MODIFIED", 2)):
        initial.on_event(kind, document("kept", version))
    initial.on_event("ADDED", document("deleted", 3))
    initial.on_event("DELETED", document("deleted", 4))
    assert [(one.uid, one.resource_version) for one in initial.downloads] == [("kept", "2")]
    assert [found.download.resource_version for found in initial.take()] == ["2"]


def test_an_object_that_can_not_be_read_is_left_out() -> None:
    initial, wrong = InitialObjects(), document("wrong", 1)
    wrong["spec"] = {"modelRef": 5}
    initial.on_event("ADDED", wrong)
    initial.on_event("ADDED", document("right", 2))
    assert [one.uid for one in initial.downloads] == ["right"]


def test_only_the_document_of_a_ready_object_is_kept_and_without_what_nothing_reads() -> None:
    initial, ready = InitialObjects(), document("ready", 1, ready=True)
    manifest = "kubectl.kubernetes.io/last-applied-configuration"
    annotations = {manifest: "{}", "models.rbee.dev/verifyAt": "now"}
    ready["metadata"] |= {"managedFields": [{}], "annotations": annotations}
    initial.on_event("ADDED", ready)
    initial.on_event("ADDED", document("queued", 2))
    found = {one.download.uid: one.document for one in initial.take()}
    kept = unpacked(found["ready"])
    assert "managedFields" not in kept["metadata"]
    assert kept["metadata"]["annotations"] == {"models.rbee.dev/verifyAt": "now"}
    assert kept["spec"] == {"modelRef": "hf:a/b"}
    assert found["queued"] == b""


def test_nothing_is_kept_after_the_start() -> None:
    initial = InitialObjects()
    initial.on_event("ADDED", document("a", 1))
    assert len(initial.take()) == 1
    initial.on_event("ADDED", document("b", 2))
    assert initial.downloads == []
    assert initial.take() == []
