"""A policy that fails: `injection.failurePolicy` decides whether the pod is created without models, or not at all.

What makes it fail is a pod with so many containers that the expression exceeds the cost limit of the API server.
"""

import pytest

from deploy.local.api import ApiError, Document
from tests.chart.injection.pods import Served, container, pod


def costly() -> Document:
    use = ",".join(f"hf:owner/repo-{number}:Q4_K_M" for number in range(16))
    return pod(use, containers=[container(f"c{number}") for number in range(500)])


def test_the_default_refuses_the_pod(served: Served) -> None:
    with pytest.raises(ApiError, match="cost limit exceeded") as refused:
        served.create(costly(), dry_run=True)
    assert f"policy '{served.home}-model-provisioner-injection'" in refused.value.message


def test_ignore_creates_the_pod_as_it_is_and_not_with_half_of_it(lenient: Served) -> None:
    stored = lenient.create(costly(), dry_run=True)
    assert "schedulingGates" not in stored["spec"]
    assert "labels" not in stored["metadata"]
    assert [one["name"] for one in stored["spec"]["volumes"] if not one["name"].startswith("kube-api-access")] == []
    assert {"env" in one for one in stored["spec"]["containers"]} == {False}


def test_ignore_does_not_mean_that_a_wrong_annotation_is_accepted(lenient: Served) -> None:
    with pytest.raises(ApiError, match="has an empty entry"):
        lenient.create(pod(""), dry_run=True)


@pytest.mark.parametrize("use", [None, "tinyllama"])
def test_other_pods_are_created_meanwhile(served: Served, use: str | None) -> None:
    containers = [container(f"c{number}") for number in range(100)]
    assert len(served.create(pod(use, containers=containers), dry_run=True)["spec"]["containers"]) == 100
