"""The next operator takes over from one whose pod is gone, with the rights that the chart gives.

Pods are objects without processes here: there is no kubelet. Each operator is a process that is told the name and the
uid of such an object, as by the downward API.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import Cluster
from tests.chart.installing import install
from tests.chart.rendering import Helm
from tests.support.ggufs import write_gguf
from tests.support.programs import Program, eventually
from tests.support.stand import Stand, stand

ACCOUNT = "model-provisioner"
SOON_SECONDS = 40  # for a loaded machine; a Lease lasts longer
WAIT_SECONDS = 5  # several times that between two looks at the pod
SIZE = 16 * 1024**2


@pytest.fixture
def bench(helm: Helm, cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Stand]:
    """A namespace with the chart's accounts and rights, and a hub whose model stops at its half."""
    install(cluster.api, helm.render(namespace=namespace), namespace)
    with stand(cluster, namespace, tmp_path) as made:
        made.hub.repository("acme/large").add("l.Q4_K_M.gguf", write_gguf(tmp_path / "l.gguf", size=SIZE))
        yield made


def start(bench: Stand, pod: str) -> Program:
    """An operator in the pod `pod`, which is created, with the token of the chart's account."""
    uid = create_pod(bench, pod)
    kubeconfig = bench.cluster.kubeconfig_for_service_account(bench.namespace, ACCOUNT)
    environment = {"POD_NAME": pod, "POD_UID": uid}
    return bench.start_operator(f"--kubeconfig={kubeconfig}", environment=environment)


def pods(bench: Stand) -> str:
    return f"/api/v1/namespaces/{bench.namespace}/pods"


def create_pod(bench: Stand, name: str) -> str:
    """Returns the uid."""
    spec = {"containers": [{"name": "operator", "image": "model-provisioner"}]}
    metadata = {"name": name}
    created = bench.cluster.api.create(pods(bench), {"metadata": metadata, "spec": spec})
    return str(created["metadata"]["uid"])


def lose(bench: Stand, operator: Program, pod: str) -> None:
    """Ends the operator without a word, and its pod as `kubectl delete --force` or the loss of a node does."""
    operator.kill()
    bench.cluster.api.request("DELETE", f"{pods(bench)}/{pod}", {"gracePeriodSeconds": 0})


def lease(bench: Stand) -> dict[str, Any]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{bench.namespace}/leases/model-provisioner"
    spec: dict[str, Any] = bench.cluster.api.get(path)["spec"]
    return spec


def holder(bench: Stand) -> str:
    return str(lease(bench)["holderIdentity"]).partition("_")[0]


def downloading(bench: Stand, pod: str) -> Program:
    """The operator of `pod`, with a download at its half."""
    gate = bench.hub.pause_at(SIZE // 2)
    operator = start(bench, pod)
    bench.apply("large", modelRef="hf:acme/large")
    gate.wait_reached()
    bench.until("large", "Downloading")
    return operator


def test_a_pod_that_was_removed_by_force_is_succeeded_at_once(bench: Stand) -> None:
    lose(bench, downloading(bench, "first"), "first")
    epoch = lease(bench)["leaseTransitions"]
    bench.hub.clear_faults()
    second = start(bench, "second")
    eventually(lambda: holder(bench) == "second", "the second one has the Lease", SOON_SECONDS)
    bench.until("large", "Available")
    assert lease(bench)["leaseTransitions"] == epoch + 1, "journals tell the writers apart"
    assert "the pod of first_" in second.output()
    eventually(lambda: reporters(bench, "Available") == {"second"}, "an Event names the pod")


def reporters(bench: Stand, reason: str) -> set[str]:
    """Which pods have posted Events with this reason."""
    items = bench.cluster.api.get(f"/api/v1/namespaces/{bench.namespace}/events")["items"]
    return {item["reportingInstance"] for item in items if item["reason"] == reason}


def test_one_that_already_waits_takes_over_when_the_pod_goes(bench: Stand) -> None:
    first = downloading(bench, "first")
    second = start(bench, "second")
    eventually(lambda: "waiting: first_" in second.output(), "the second one waits")
    first.kill()
    time.sleep(WAIT_SECONDS)
    assert holder(bench) == "first", "the pod exists, so it waits on"
    bench.cluster.api.request("DELETE", f"{pods(bench)}/first", {"gracePeriodSeconds": 0})
    eventually(lambda: holder(bench) == "second", "the second one has the Lease", SOON_SECONDS)


def test_a_pod_of_the_same_name_is_another_one(bench: Stand) -> None:
    lose(bench, downloading(bench, "operator-0"), "operator-0")
    epoch = lease(bench)["leaseTransitions"]
    start(bench, "operator-0")
    eventually(lambda: lease(bench)["leaseTransitions"] == epoch + 1, "the new pod has the Lease", SOON_SECONDS)


def test_a_restarted_container_goes_on_at_once(bench: Stand) -> None:
    operator = downloading(bench, "first")
    before = lease(bench)
    operator.kill()
    bench.hub.clear_faults()
    name, uid = before["holderIdentity"].split("_")
    kubeconfig = bench.cluster.kubeconfig_for_service_account(bench.namespace, ACCOUNT)
    bench.start_operator(f"--kubeconfig={kubeconfig}", environment={"POD_NAME": name, "POD_UID": uid})
    bench.until("large", "Available")
    assert lease(bench)["leaseTransitions"] == before["leaseTransitions"]


def test_an_operator_that_may_not_read_pods_waits(bench: Stand) -> None:
    lose(bench, downloading(bench, "first"), "first")
    role = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{bench.namespace}/roles/{ACCOUNT}-lease"
    rules = [rule for rule in bench.cluster.api.get(role)["rules"] if rule["resources"] != ["pods"]]
    bench.cluster.api.merge(role, {"rules": rules})
    second = start(bench, "second")
    eventually(lambda: "whether its pod is gone is not known" in second.output(), "it says why it waits")
    time.sleep(WAIT_SECONDS)
    assert holder(bench) == "first"
    assert second.process.poll() is None


def test_the_template_tells_name_and_uid_of_the_pod(helm: Helm) -> None:
    named = {
        one["name"]: one["valueFrom"]["fieldRef"]["fieldPath"] for one in helm.render().container("operator")["env"]
    }
    assert named == {"POD_NAME": "metadata.name", "POD_UID": "metadata.uid"}
