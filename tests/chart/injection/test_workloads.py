"""Templates of pods: pods as their controllers create them, and templates that are refused when they are applied."""

import pytest

from deploy.local.api import ApiError, Document
from deploy.local.cluster import Cluster
from tests.chart.injection.pods import GATE, MOUNT, ONE_MODEL, VOLUME, Served, env, mounts, volumes
from tests.chart.injection.workloads import created, template, workload
from tests.chart.installing import path_of

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")


@pytest.mark.parametrize("creator", created())
def test_a_pod_of_a_controller_gets_its_model(served: Served, creator: str) -> None:
    one = created()[creator]
    stored = served.create(one.pod, dry_run=True)
    assert stored["spec"]["schedulingGates"] == [GATE]
    assert stored["metadata"]["labels"] == one.pod["metadata"]["labels"] | {"models.rbee.dev/gate": "true"}
    assert stored["metadata"]["annotations"] == one.pod["metadata"]["annotations"]
    assert volumes(stored) == [*volumes(one.pod), VOLUME]
    for name in one.servers:
        assert (mounts(stored, name), env(stored, name)) == ([MOUNT], [*ONE_MODEL, *env(one.pod, name)])
    for name in one.others:
        assert (mounts(stored, name), env(stored, name)) == ([], [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_is_accepted_and_stored_as_it_is(served: Served, kind: str) -> None:
    stored = create(served, workload(kind, "right", template()))
    pods = template_of(stored)
    assert "schedulingGates" not in pods["spec"]
    assert "volumes" not in pods["spec"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_with_a_wrong_annotation_is_refused_when_it_is_applied(served: Served, kind: str) -> None:
    with pytest.raises(ApiError, match="'a b' in the annotation"):
        create(served, workload(kind, "wrong", template(use="a b")))


def test_a_template_that_becomes_wrong_is_refused(served: Served) -> None:
    right, wrong = (workload("Deployment", "change", template(use=use)) for use in ("a", "a,,b"))
    (stored,) = served.api.apply([right], served.home)
    assert template_of(stored)["metadata"]["annotations"] == {"models.rbee.dev/use": "a"}
    with pytest.raises(ApiError, match="has an empty entry"):
        served.api.apply([wrong], served.home)


def test_a_template_may_name_a_container_that_a_webhook_adds_to_its_pods(served: Served) -> None:
    pods = template(annotations={"containers": "storage-initializer"})
    assert create(served, workload("Deployment", "hooked", pods))["metadata"]["name"] == "hooked"


def test_a_template_from_before_the_policy_can_be_scaled_labelled_and_deleted(served: Served, cluster: Cluster) -> None:
    path = f"/apis/apps/v1/namespaces/{served.home}/deployments/{served.before}"
    assert cluster.api.get(path)["spec"]["template"]["metadata"]["annotations"] == {"models.rbee.dev/use": ""}
    assert cluster.api.merge(path, {"spec": {"replicas": 3}})["spec"]["replicas"] == 3
    assert cluster.api.merge(path, {"metadata": {"labels": {"a": "b"}}})["metadata"]["labels"] == {"a": "b"}
    with pytest.raises(ApiError, match="has an empty entry"):
        cluster.api.merge(path, {"spec": {"template": {"metadata": {"labels": {"b": "c"}}}}})
    cluster.api.delete(path)


def create(served: Served, manifest: Document) -> Document:
    manifest["metadata"]["namespace"] = served.home
    path = path_of(served.api, manifest).rpartition("/")[0]
    return served.api.create(f"{path}?fieldValidation=Strict&dryRun=All", manifest)


def template_of(stored: Document) -> Document:
    spec = stored["spec"]
    found: Document = (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]
    return found
