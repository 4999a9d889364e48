"""A ref that no object has: the operator creates a ModelDownload for it once, and tells what the API server refuses."""

import json

import pytest

from model_provisioner.controller.gates import creations
from model_provisioner.domain.lifecycle.backoff import Backoff
from model_provisioner.domain.refs.object_names import object_name
from model_provisioner.domain.refs.refs import parse
from tests.controller.gates.rig import Rig
from tests.support.api_proxy import Asked
from tests.support.programs import eventually

REF = "hf:a/b:Q4_K_M"
NAME = object_name(parse(REF))


def creation(asked: Asked) -> bool:
    return asked.method == "POST" and asked.path.endswith("/modeldownloads")


def test_pods_of_one_ref_share_one_object_which_has_the_ref_alone(rig: Rig) -> None:
    for number in range(5):
        rig.pods.using(f"pod-{number}", REF, "hf://a/c:Q8_0")
    with rig.running(creates=True):
        eventually(lambda: rig.exists(NAME) and rig.exists(object_name(parse("hf:a/c:Q8_0"))), "both are created")
        eventually(lambda: rig.pods.told("pod-4", "Resolving"), "they are waited for")
        rig.ready(NAME)
        rig.delete(object_name(parse("hf:a/c:Q8_0")))
        rig.ready("by-hand", ref="hf:a/c:Q8_0")
        eventually(lambda: all(rig.pods.is_open(f"pod-{number}") for number in range(5)), "all gates are open")
    specs = [json.loads(asked.body)["spec"] for asked in rig.proxy.asked(creation)]
    assert specs == [{"modelRef": REF}, {"modelRef": "hf:a/c:Q8_0"}]
    assert rig.pods.annotations("pod-0")["model-name-1"] == "by-hand"


def test_a_refusal_is_told_and_the_next_try_is_made_by_itself(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(creations, "_REFUSED", Backoff(0.1, 0.1))
    rig.pods.using("server", REF)
    with rig.running(creates=True):
        with rig.proxy.answering(403, creation):
            message = eventually(lambda: rig.pods.told("server", "CreateRefused"), "it is told")
            assert message == "no ModelDownload could be created: scripted: Forbidden"
        eventually(lambda: rig.exists(NAME), "it is created")


def test_a_name_that_is_taken_is_told(rig: Rig) -> None:
    rig.model(NAME, ref="hf:other/model")
    rig.pods.using("server", REF)
    with rig.running(creates=True):
        message = eventually(lambda: rig.pods.told("server", "CreateRefused"), "it is told")
        assert message == f"no ModelDownload could be created: ModelDownload {NAME} exists and has another ref"


def test_pods_create_no_more_objects_than_a_namespace_may_have(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(creations, "_MOST_OBJECTS", 3)
    monkeypatch.setattr(creations, "_REFUSED", Backoff(0.1, 0.1))
    rig.model("by-hand", ref="hf:other/model")
    for number in range(2):
        rig.pods.using(f"pod-{number}", *(f"hf:a/b{number}{place}" for place in range(8)))
    with rig.running(creates=True):
        message = eventually(lambda: rig.pods.told("pod-0", "CreateRefused"), "it is told")
        assert message == (
            f"no ModelDownload could be created: namespace {rig.namespace} has 3 ModelDownloads, and with so many "
            "the operator creates none for pods: delete some, or create this one yourself"
        )
        eventually(lambda: rig.pods.told("pod-1", "CreateRefused"), "the other one is told")
        assert len(rig.proxy.asked(creation)) == 2
        rig.delete("by-hand")
        eventually(lambda: len(rig.proxy.asked(creation)) > 2, "there is room for one more")


def test_an_object_that_is_deleted_while_a_pod_waits_is_created_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creations, "_AGAIN_SECONDS", 0.2)
    rig.pods.using("server", REF)
    with rig.running(creates=True):
        first = eventually(lambda: rig.exists(NAME) and rig.get(NAME)["metadata"]["uid"], "it is created")
        rig.delete(NAME)
        eventually(lambda: rig.exists(NAME) and rig.get(NAME)["metadata"]["uid"] != first, "it is created again")


def test_an_api_server_that_is_busy_is_asked_again(rig: Rig) -> None:
    rig.pods.using("server", REF)
    with rig.proxy.answering(503, creation, times=2) as busy, rig.running(creates=True):
        eventually(lambda: rig.exists(NAME), "it is created")
    assert busy.hits == 2
    assert "CreateRefused" not in rig.pods.events("server")


def test_nothing_is_created_for_a_pod_that_is_gone(rig: Rig) -> None:
    rig.pods.using("server", REF)
    with rig.running(creates=True):
        with rig.proxy.answering(503, creation) as busy:
            eventually(lambda: busy.hits, "it was tried")
            rig.pods.delete("server")
            rig.pods.using("second", "hf:a/c")
            eventually(lambda: any(b"hf:a/c" in one.body for one in list(busy.bitten)), "the deletion was heard")
        eventually(lambda: rig.exists(object_name(parse("hf:a/c"))), "the other one is created")
        assert not rig.exists(NAME)
