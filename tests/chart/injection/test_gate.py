"""A pod whose gate is closed, and the patches with which the operator, or a person, opens it."""

import json
import re

import pytest

from deploy.local.api import ApiError, Document
from tests.chart.injection.pods import GATE, ONE_MODEL, VOLUME, Served, env, pod, volumes
from tests.chart.rendering import ROOT

NOTED = {"models.rbee.dev/model-path-0": "/models/hf/owner/repo/a.gguf", "models.rbee.dev/model-name-0": "tinyllama"}


def path_of(served: Served, stored: Document) -> str:
    return f"/api/v1/namespaces/{served.home}/pods/{stored['metadata']['name']}"


def patched(served: Served, stored: Document, *operations: Document) -> Document:
    path = path_of(served, stored)
    return served.api.request("PATCH", path, list(operations), content_type="application/json-patch+json")


def opening(stored: Document, index: int) -> list[Document]:
    """The patch: the gate at `index` goes, and the annotations come that the variables read."""
    place = f"/spec/schedulingGates/{index}"
    noted = [
        {"op": "add", "path": f"/metadata/annotations/{key.replace('/', '~1')}", "value": value}
        for key, value in NOTED.items()
    ]
    uid = {"op": "test", "path": "/metadata/uid", "value": stored["metadata"]["uid"]}
    return [uid, {"op": "test", "path": place, "value": GATE}, {"op": "remove", "path": place}, *noted]


def test_one_patch_opens_the_gate_and_says_where_the_model_is(served: Served) -> None:
    stored = served.create(pod())
    opened = patched(served, stored, *opening(stored, 0))
    assert "schedulingGates" not in opened["spec"]
    assert opened["metadata"]["annotations"] == {"models.rbee.dev/use": "tinyllama", **NOTED}
    assert {
        "metadata.annotations['models.rbee.dev/model-path-0']",
        "metadata.annotations['models.rbee.dev/model-name-0']",
    } == {one["valueFrom"]["fieldRef"]["fieldPath"] for one in env(opened)}
    assert (volumes(opened), env(opened)) == ([VOLUME], ONE_MODEL), "nothing is added a second time"


def test_the_gate_of_another_controller_stays_closed(served: Served) -> None:
    other = {"name": "kueue.x-k8s.io/topology"}
    stored = served.create(pod(schedulingGates=[other]))
    assert patched(served, stored, *opening(stored, 1))["spec"]["schedulingGates"] == [other]


def test_a_pod_that_is_open_can_not_be_closed_again(served: Served) -> None:
    stored = served.create(pod())
    patched(served, stored, *opening(stored, 0))
    with pytest.raises(ApiError, match="schedulingGates"):
        patched(served, stored, {"op": "add", "path": "/spec/schedulingGates", "value": [GATE]})


def test_a_pod_with_a_claim_that_does_not_exist_is_created_and_says_that_it_is_gated(served: Served) -> None:
    """The user sees `SchedulingGated` in `kubectl get pods`; what is missing is in the Event of the operator."""
    stored = served.create(pod(annotations={"claim": "missing"}))
    path = f"/api/v1/namespaces/{served.home}/persistentvolumeclaims"
    assert served.api.get(path)["items"] == []
    assert volumes(stored) == [{**VOLUME, "persistentVolumeClaim": {"claimName": "missing"}}]
    assert stored["status"]["phase"] == "Pending"
    (condition,) = stored["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "SchedulingGated")
    assert patched(served, stored, *opening(stored, 0))["status"]["phase"] == "Pending"


def test_the_watch_of_the_operator_finds_closed_pods_by_label(served: Served) -> None:
    stored = served.create(pod())
    query = "?labelSelector=models.rbee.dev%2Fgate%3Dtrue&fieldSelector=spec.nodeName%3D"
    found = served.api.get(f"/api/v1/namespaces/{served.home}/pods{query}")["items"]
    assert stored["metadata"]["name"] in [one["metadata"]["name"] for one in found]


def test_the_documented_patch_starts_a_pod_without_an_operator(served: Served) -> None:
    documented = r"^kubectl patch pod POD -n models --type json -p '(.*)'$"
    (patch,) = re.findall(documented, (ROOT / "docs" / "install.md").read_text(), re.MULTILINE)
    stored = served.create(pod())
    assert "schedulingGates" not in patched(served, stored, *json.loads(patch))["spec"]


def test_a_copy_of_an_open_pod_is_closed(served: Served) -> None:
    stored = served.create(pod())
    opened = patched(served, stored, *opening(stored, 0))
    metadata = {"generateName": "copy-", "annotations": opened["metadata"]["annotations"]}
    copied = served.create({"metadata": metadata, "spec": opened["spec"]})
    assert copied["spec"]["schedulingGates"] == [GATE]
