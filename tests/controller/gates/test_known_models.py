"""Which pods a change of a ModelDownload concerns, and what is found afterwards."""

from typing import Any

from model_provisioner.controller.gates.known_models import KnownModels
from model_provisioner.domain.lifecycle.events import Available, Event, Progressed, Started
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.modeldownload import ModelDownload, Status
from model_provisioner.domain.refs.refs import parse
from model_provisioner.kube.resource import status_document
from tests.support.samples import MODEL, NOW, after

REF = "hf:a/b:Q4_K_M"
KEYS = {"tiny", REF, "hf:a/b"}


def document(*events: Event, ref: str = REF, uid: str = "u") -> dict[str, Any]:
    status = status_document(project(after(*events), 1, NOW, Status())) if events else {}
    metadata = {"namespace": "ai", "name": "tiny", "uid": uid, "resourceVersion": "1"}
    return {"metadata": metadata, "spec": {"modelRef": ref}, "status": status}


def found(models: KnownModels, text: str) -> str | None:
    wanted = parse(text) if ":" in text else text
    answer = models.find(wanted, frozenset({"models"}))
    return answer.uid if isinstance(answer, ModelDownload) else None


def test_a_new_object_concerns_those_that_name_it_in_any_way() -> None:
    models = KnownModels()
    assert models.on_event("ADDED", document()) == KEYS
    assert models.has("tiny")
    assert (found(models, "tiny"), found(models, REF), found(models, "hf:a/b")) == ("u", "u", "u")


def test_progress_concerns_none_and_readiness_all() -> None:
    models = KnownModels()
    models.on_event("ADDED", document(Started(MODEL, 0), Progressed(1, 0, 1, 1)))
    assert models.on_event("MODIFIED", document(Started(MODEL, 0), Progressed(2, 0, 1, 1))) == frozenset()
    assert models.on_event("MODIFIED", document(Started(MODEL, 0), Available(MODEL))) == KEYS


def test_a_new_ref_concerns_those_of_the_old_one_too() -> None:
    models = KnownModels()
    models.on_event("ADDED", document())
    assert models.on_event("MODIFIED", document(ref="oci://r.example/a:1")) == KEYS | {"oci://r.example/a:1"}
    assert (found(models, REF), found(models, "oci://r.example/a:1")) == (None, "u")


def test_a_deletion_concerns_all_and_a_late_one_of_an_earlier_object_none() -> None:
    models = KnownModels()
    models.on_event("ADDED", document(uid="second"))
    assert models.on_event("DELETED", document(uid="first")) == frozenset()
    assert found(models, "tiny") == "second"
    assert models.on_event("DELETED", document(uid="second")) == KEYS
    assert (found(models, "tiny"), models.has("tiny")) == (None, False)


def test_an_object_that_can_not_be_read_is_not_there() -> None:
    models = KnownModels()
    models.on_event("ADDED", document())
    broken = document()
    broken["spec"]["connections"] = "many"
    assert models.on_event("MODIFIED", broken) == KEYS
    assert found(models, "tiny") is None
