"""What the policies leave alone, and who judges the pods afterwards."""

import pytest

from deploy.local.api import ApiError, Document
from tests.chart.injection.pods import Served, container, env, mounts, pod, volumes

SCHEDULED = {"schedulingGates", "nodeName"}


def is_untouched(stored: Document) -> bool:
    has_label = "models.rbee.dev/gate" in stored["metadata"].get("labels", {})
    added = (volumes(stored), mounts(stored), env(stored))
    return not has_label and not SCHEDULED & stored["spec"].keys() and added == ([], [], [])


def test_a_pod_without_the_annotation(served: Served) -> None:
    assert is_untouched(served.create(pod(None)))
    assert is_untouched(served.create(pod(None, annotations={"models": "tinyllama", "claim": "", "containers": "x"})))


def test_a_pod_in_a_namespace_that_is_not_served(served: Served, namespace: str) -> None:
    assert is_untouched(served.create(pod(), namespace))
    assert is_untouched(served.create(pod(""), namespace))


def test_a_pod_that_exists_and_gets_the_annotation(served: Served) -> None:
    stored = served.create(pod(None))
    path = f"/api/v1/namespaces/{served.home}/pods/{stored['metadata']['name']}"
    for use in ("tinyllama", ""):
        changed = served.api.merge(path, {"metadata": {"annotations": {"models.rbee.dev/use": use}}})
        assert is_untouched(changed)
        assert changed["metadata"]["annotations"] == {"models.rbee.dev/use": use}


def test_the_status_of_a_pod_and_its_deletion(served: Served) -> None:
    stored = served.create(pod())
    path = f"/api/v1/namespaces/{served.home}/pods/{stored['metadata']['name']}"
    served.api.merge(path, {"metadata": {"annotations": {"models.rbee.dev/use": ""}}})
    assert served.api.merge(f"{path}/status", {"status": {"message": "x"}})["status"]["message"] == "x"
    served.api.request("DELETE", path, {"gracePeriodSeconds": 0})


UNSAFE: list[Document] = [
    {"securityContext": {"allowPrivilegeEscalation": True}},
    {"securityContext": {}},
]


@pytest.mark.parametrize("fields", UNSAFE, ids=["may escalate", "nothing is said"])
def test_pod_security_judges_the_pod_with_its_models(served: Served, fields: Document) -> None:
    with pytest.raises(ApiError, match='violates PodSecurity "restricted') as refused:
        served.create(pod(containers=[container() | fields]))
    assert refused.value.code == 403
