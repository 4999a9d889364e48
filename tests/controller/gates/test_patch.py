"""The patch that opens a gate, held against the rules of a real API server for gated pods."""

from typing import Any

import pytest

from deploy.local.api import ApiError
from deploy.local.cluster import Cluster
from model_provisioner.domain.annotations import GATE
from model_provisioner.domain.pods.decision import Opening, OpenModel
from model_provisioner.domain.pods.gated_pod import read_pod
from model_provisioner.domain.pods.patch import opening_patch
from tests.support.gated_pods import GatedPods

OPENING = Opening((OpenModel("tiny", "hf/a/b/x.gguf", "models", "hf/a/b/mmproj.gguf"),))
HERE = {"key": "metadata.name", "operator": "In", "values": ["node-1"]}
GPU = {"key": "gpu", "operator": "Exists"}
OTHER = {"key": "metadata.name", "operator": "NotIn", "values": ["node-2"]}
PREFERRED = [{"weight": 1, "preference": {"matchExpressions": [GPU]}}]
TOGETHER = {
    "requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "a"}}}
    ]
}

Terms = list[dict[str, Any]]


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}


SHAPES: dict[str, tuple[dict[str, Any] | None, Terms]] = {
    "none": (None, [{"matchFields": [HERE]}]),
    "empty": ({}, [{"matchFields": [HERE]}]),
    "of pods only": ({"podAffinity": TOGETHER}, [{"matchFields": [HERE]}]),
    "preferred nodes": (
        {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": PREFERRED}},
        [{"matchFields": [HERE]}],
    ),
    "two terms": (
        {"nodeAffinity": required({"matchExpressions": [GPU]}, {"matchFields": [OTHER]})},
        [{"matchExpressions": [GPU], "matchFields": [HERE]}, {"matchFields": [OTHER, HERE]}],
    ),
    "a term that matches no node": (
        {"nodeAffinity": required({}, {"matchExpressions": [GPU]})},
        [{}, {"matchExpressions": [GPU], "matchFields": [HERE]}],
    ),
    "terms that match no node": ({"nodeAffinity": required({})}, [{}]),
}


@pytest.fixture
def pods(cluster: Cluster, namespace: str) -> GatedPods:
    return GatedPods(cluster.api, namespace)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_affinity_is_narrowed_to_the_node_and_all_else_stays(pods: GatedPods, shape: str) -> None:
    affinity, expected = SHAPES[shape]
    before = pods.waiting_for("server", "tiny", affinity=affinity)
    after = pods.patch("server", *opening_patch(read_pod(before, "/models"), OPENING, "node-1"))
    node = after["spec"]["affinity"]["nodeAffinity"]
    assert node.pop("requiredDuringSchedulingIgnoredDuringExecution") == {"nodeSelectorTerms": expected}
    rest = {**(affinity or {}), "nodeAffinity": {**(affinity or {}).get("nodeAffinity", {})}}
    rest["nodeAffinity"].pop("requiredDuringSchedulingIgnoredDuringExecution", None)
    assert after["spec"]["affinity"] == rest
    assert after["spec"].get("schedulingGates") in (None, [])


def test_the_containers_are_told_paths_and_names(pods: GatedPods) -> None:
    before = pods.using("server", "tiny")
    after = pods.patch("server", *opening_patch(read_pod(before, "/models"), OPENING, None))
    assert pods.annotations("server") == {
        "model-path-0": "/models/hf/a/b/x.gguf",
        "model-name-0": "tiny",
        "model-projector-0": "/models/hf/a/b/mmproj.gguf",
    }
    assert "affinity" not in after["spec"]


def edited_models(pods: GatedPods) -> None:
    pods.annotate("server", {"models.rbee.dev/models": "another"})


def edited_affinity(pods: GatedPods) -> None:
    pods.patch("server", {"op": "add", "path": "/spec/affinity", "value": {"nodeAffinity": required({})}})


def edited_term(pods: GatedPods) -> None:
    path = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields"
    pods.patch("server", {"op": "add", "path": path, "value": [OTHER]})


def another_gate_first(pods: GatedPods) -> None:
    pods.patch("server", {"op": "remove", "path": "/spec/schedulingGates/0"})


def open_already(pods: GatedPods) -> None:
    pods.patch("server", {"op": "remove", "path": "/spec/schedulingGates/1"})


def another_pod_of_that_name(pods: GatedPods) -> None:
    pods.delete("server")
    pods.waiting_for("server", "tiny", schedulingGates=[{"name": "example.com/a"}, {"name": GATE}])


@pytest.mark.parametrize(
    ("edit", "affinity"),
    [
        (edited_models, None),
        (edited_affinity, None),
        (edited_term, {"nodeAffinity": required({"matchExpressions": [GPU]})}),
        (another_gate_first, None),
        (open_already, None),
        (another_pod_of_that_name, None),
    ],
)
def test_a_patch_that_was_made_before_an_edit_is_refused(
    pods: GatedPods, edit: Any, affinity: dict[str, Any] | None
) -> None:
    gates = [{"name": "example.com/a"}, {"name": GATE}]
    before = pods.waiting_for("server", "tiny", affinity=affinity, schedulingGates=gates)
    patch = opening_patch(read_pod(before, "/models"), OPENING, "node-1")
    edit(pods)
    edited = pods.get("server")
    with pytest.raises(ApiError) as refused:
        pods.patch("server", *patch)
    assert refused.value.code == 422
    assert pods.get("server") == edited

    if GATE in pods.gates("server"):
        pods.patch("server", *opening_patch(read_pod(edited, "/models"), OPENING, "node-1"))
        assert GATE not in pods.gates("server")


def test_a_write_to_the_status_does_not_refuse_the_patch(pods: GatedPods, cluster: Cluster, namespace: str) -> None:
    before = pods.waiting_for("server", "tiny")
    condition = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    cluster.api.merge(f"/api/v1/namespaces/{namespace}/pods/server/status", {"status": {"conditions": [condition]}})
    pods.patch("server", *opening_patch(read_pod(before, "/models"), OPENING, "node-1"))
    assert pods.is_open("server")
