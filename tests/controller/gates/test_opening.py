"""When a gate opens, and that it takes one patch, whatever happens to the pod, its models and the API server."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial

import pytest

from model_provisioner.domain.annotations import GATE_LABEL
from tests.controller.gates.rig import PATH, Rig, is_patch_of
from tests.support.api_proxy import ApiProxy, Asked, Fault, failing
from tests.support.gated_pods import GatedPods
from tests.support.programs import eventually

MANY = 60
EDIT = {
    "op": "add",
    "path": "/spec/affinity",
    "value": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}]
            }
        }
    },
}


def pod_patches(asked: Asked) -> bool:
    return asked.method == "PATCH" and "/pods/" in asked.path


def pod_requests(asked: Asked) -> bool:
    return asked.path.endswith("/pods")


def test_what_is_ready_opens_at_once_after_a_restart_by_one_patch_a_pod(rig: Rig) -> None:
    rig.ready("tiny")
    for number in range(MANY):
        rig.pods.waiting_for(f"pod-{number}", "tiny")
    with rig.running():
        for number in range(MANY):
            schedule_in_vain(rig, f"pod-{number}")  # as the scheduler does at the same time
        eventually(lambda: all(rig.pods.is_open(f"pod-{number}") for number in range(MANY)), "all gates are open")
        rig.pods.bind("pod-0", "node-1")
        rig.pods.waiting_for("last", "tiny")
        eventually(lambda: rig.pods.is_open("last"), "all events before were heard")
    assert {rig.patches(f"pod-{number}") for number in range(MANY)} == {1}
    assert rig.pods.events("pod-1") == {}  # it did not wait


def schedule_in_vain(rig: Rig, name: str) -> None:
    path = f"/api/v1/namespaces/{rig.namespace}/pods/{name}/status"
    condition = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    rig.cluster.api.merge(path, {"status": {"conditions": [condition]}})


@pytest.mark.parametrize(("modes", "is_narrowed"), [(["ReadWriteOnce"], True), (["ReadWriteMany"], False)])
def test_a_volume_for_one_node_brings_its_pods_there(rig: Rig, modes: list[str], is_narrowed: bool) -> None:
    spec = {"accessModes": modes, "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "models"}, "spec": spec}
    rig.cluster.api.create(f"/api/v1/namespaces/{rig.namespace}/persistentvolumeclaims", claim)
    rig.ready("tiny")
    rig.pods.waiting_for("server", "tiny")
    with rig.running():
        eventually(lambda: rig.pods.is_open("server"), "the gate is open")
    assert ("node-1" in str(rig.pods.get("server")["spec"].get("affinity"))) == is_narrowed


def test_a_ready_object_that_the_operator_has_not_confirmed_opens_no_gate(rig: Rig) -> None:
    rig.unconfirmed.add("tiny")
    rig.ready("tiny")
    rig.pods.waiting_for("server", "tiny")
    with rig.running():
        assert "has not confirmed" in eventually(lambda: rig.pods.told("server", "Verifying"), "it is told")
        assert rig.patches("server") == 0
        rig.unconfirmed.clear()
        eventually(lambda: rig.pods.is_open("server"), "the gate is open")


def test_a_pod_that_is_deleted_meanwhile_stops_no_other(rig: Rig) -> None:
    rig.ready("tiny")
    rig.pods.waiting_for("gone", "tiny")

    def delete() -> bool:
        rig.pods.delete("gone")
        return True

    with rig.proxy.at(0, partial(is_patch_of, pod="gone"), delete, after=False), rig.running():
        eventually(lambda: rig.patches("gone"), "it is patched")
        rig.pods.waiting_for("server", "tiny")
        eventually(lambda: rig.pods.is_open("server"), "the gate is open")
    assert rig.patches("gone") == 1
    assert not rig.pods.exists("gone")


def test_a_users_edit_at_the_same_moment_stays(rig: Rig) -> None:
    rig.cluster.api.create(
        f"/api/v1/namespaces/{rig.namespace}/persistentvolumeclaims",
        {
            "metadata": {"name": "models"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        },
    )
    rig.ready("tiny")
    rig.pods.waiting_for("server", "tiny")

    def edit() -> bool:
        rig.pods.patch("server", EDIT)
        return True

    with rig.proxy.at(0, pod_patches, edit, after=False), rig.running():
        eventually(lambda: rig.pods.is_open("server"), "the gate is open")
    required = rig.pods.get("server")["spec"]["affinity"]["nodeAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    (term,) = required["nodeSelectorTerms"]
    assert (term["matchExpressions"][0]["key"], term["matchFields"][0]["values"]) == ("gpu", ["node-1"])
    assert rig.patches("server") == 2


def test_a_model_that_is_lost_while_the_api_server_is_down_opens_nothing(rig: Rig) -> None:
    rig.ready("tiny")
    rig.pods.waiting_for("server", "tiny")
    with rig.running():
        with rig.proxy.answering(503, pod_patches) as down:
            eventually(lambda: down.hits >= 2, "it was tried")
            rig.lost("tiny")
            eventually(lambda: rig.pods.told("server", "Resolving"), "the loss is told")
        assert not rig.pods.is_open("server")
        rig.ready("tiny")
        eventually(lambda: rig.pods.is_open("server"), "the gate is open")


def claims(asked: Asked) -> bool:
    return "/persistentvolumeclaims/" in asked.path


FAULTS: dict[str, Callable[[ApiProxy], AbstractContextManager[Fault]]] = {
    "500": lambda proxy: proxy.answering(500, pod_patches, times=2),
    "429": lambda proxy: proxy.answering(429, pod_patches, times=2, retry_after=1),
    "409": lambda proxy: proxy.answering(409, pod_patches, times=2),
    "lists refused": lambda proxy: proxy.answering(403, pod_requests, times=2),
    "watch expires": lambda proxy: proxy.distorting(failing(410), lambda asked: asked.is_watch and pod_requests(asked)),
    "claim not readable now": lambda proxy: proxy.answering(500, claims, times=1),
    "claim not readable": lambda proxy: proxy.answering(403, claims),
    "answer lost": lambda proxy: proxy.at(0, pod_patches, lambda: False, after=True),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_api_server_with_faults_is_asked_again(rig: Rig, name: str) -> None:
    rig.ready("tiny")
    with ExitStack() as stack:
        fault = stack.enter_context(FAULTS[name](rig.proxy))
        stack.enter_context(rig.running())
        rig.pods.waiting_for("server", "tiny")
        eventually(lambda: rig.pods.is_open("server") and fault.hits, "the gate is open, and the fault has bitten")
    assert rig.patches("server") <= 4
    assert rig.pods.annotations("server")["model-path-0"] == PATH


def test_a_refusal_that_lasts_is_told_and_ends(rig: Rig) -> None:
    rig.ready("tiny")
    rig.pods.waiting_for("server", "tiny")
    with rig.running():
        with rig.proxy.answering(403, pod_patches) as refusal:
            message = eventually(lambda: rig.pods.told("server", "GateNotOpened"), "it is told")
            assert message.startswith("the models are Ready, and the API server refuses to open the gate: ")
            assert refusal.hits < 10
        eventually(lambda: rig.pods.is_open("server"), "the gate is open", 120)


def test_a_label_that_is_taken_off_and_put_on_again(rig: Rig) -> None:
    rig.pods.waiting_for("server", "tiny")
    path = f"/api/v1/namespaces/{rig.namespace}/pods/server"
    with rig.running():
        eventually(lambda: rig.pods.told("server", "ModelNotFound"), "it is told")
        rig.cluster.api.merge(path, {"metadata": {"labels": {GATE_LABEL: None}}})
        rig.ready("tiny")
        rig.pods.waiting_for("other", "tiny")
        eventually(lambda: rig.pods.is_open("other"), "the gate of another one is open")
        assert not rig.pods.is_open("server")
        rig.cluster.api.merge(path, {"metadata": {"labels": {GATE_LABEL: "true"}}})
        eventually(lambda: rig.pods.is_open("server"), "the gate is open")


def test_a_namespace_that_is_deleted_stops_no_other(rig: Rig) -> None:
    rig.ready("tiny")
    theirs = GatedPods(rig.cluster.api, rig.other_namespace)
    theirs.using("server", "hf:a/c")
    with rig.running(creates=True):
        eventually(lambda: theirs.told("server", "Resolving"), "it waits for the object that was created")
        rig.cluster.finish_namespace(rig.other_namespace)
        rig.pods.waiting_for("server", "tiny")
        eventually(lambda: rig.pods.is_open("server"), "the gate is open")
