"""`--watch-namespace *`: namespaces that come and go while the operator runs, and what it sweeps.

The control plane is one of its own, so that the operator does not meet the objects of other tests.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.api import ApiError
from deploy.local.binaries import Binaries
from deploy.local.cluster import Cluster
from tests.support import prepared
from tests.support.gated_pods import GatedPods
from tests.support.ggufs import write_gguf
from tests.support.pod_node import PodNode
from tests.support.programs import Program, eventually, free_port
from tests.support.stand import Stand

pytestmark = pytest.mark.xdist_group("every-namespace")  # one process makes what all of them use

SOON_SECONDS = 45  # for a loaded machine; it takes less than one second
SIZE = 16 * 1024**2


@pytest.fixture(scope="module")
def cluster(binaries: Binaries) -> Iterator[Cluster]:
    with prepared.with_resource_types(binaries) as running:
        yield running


def start(bench: Stand, *others: Stand, flags: tuple[str, ...] = ()) -> Program:
    """An operator of every namespace that mounts the volumes of these stands."""
    stores = [other.store for other in others]
    return bench.start_operator(*stores, "--watch-namespace=*", f"--lease-namespace={bench.namespace}", *flags)


def test_a_namespace_is_served_as_soon_as_it_exists_and_its_end_harms_no_other(bench: Stand, cluster: Cluster) -> None:
    with bench.neighbour(f"{bench.namespace}-brief") as brief:
        operator = start(bench, brief)
        bench.apply("tiny", modelRef="hf:acme/tiny")
        bench.until("tiny", "Available")
        model = write_gguf(bench.volume.parent / "large.gguf", size=SIZE)
        bench.hub.repository("acme/large").add("large.Q4_K_M.gguf", model)
        brief.apply("ready", modelRef="hf:acme/tiny", reclaimPolicy="Delete")
        brief.until("ready", "Available")
        eventually(lambda: "ready.path" in brief.catalog(), "the catalog of the other namespace")
        gate = bench.hub.pause_at(SIZE // 2)
        brief.apply("large", modelRef="hf:acme/large")
        gate.wait_reached()

        with bench.neighbour(f"{bench.namespace}-later") as later:
            later.apply("there", modelRef="hf:acme/tiny")
            later.until("there", "ClaimNotMounted", SOON_SECONDS)

            cluster.finish_namespace(brief.namespace, SOON_SECONDS)
            gate.release()
            eventually(lambda: brief.left_behind() == [], "nothing of it is left on its volume")
            assert bench.ready("tiny")["status"] == "True"
            bench.apply("next", modelRef="hf:acme/tiny:Q8_0")
            bench.until("next", "Available")
            assert {"tiny.path", "next.path"} < bench.catalog().keys()
            later.delete("there")
            later.until_gone("there", SOON_SECONDS)
    assert operator.process.poll() is None
    assert "Traceback" not in operator.output()
    assert "CleanupPostponed" not in operator.output()


@pytest.mark.parametrize("listed", [False, True], ids=["every namespace", "a list"])
def test_a_namespace_that_is_deleted_in_the_middle_takes_its_worker_pod_with_it(
    bench: Stand, cluster: Cluster, tmp_path: Path, *, listed: bool
) -> None:
    door = f"127.0.0.1:{free_port()}"
    flags = [f"--worker-listen={door}", f"--worker-connect={door}", "--worker-image=example/mp:1"]
    model = write_gguf(tmp_path / "large.gguf", size=SIZE)
    bench.hub.repository("acme/large").add("large.Q4_K_M.gguf", model)
    claim = tmp_path / "team"
    claim.mkdir()
    with (
        bench.neighbour(f"{bench.namespace}-brief") as brief,
        PodNode(cluster, brief.namespace, tmp_path, {"team": claim}) as node,
    ):
        watched = [bench.namespace, brief.namespace] if listed else ["*"]
        watch = [f"--watch-namespace={namespace}" for namespace in watched]
        operator = bench.start_operator(*flags, *watch, f"--lease-namespace={bench.namespace}")
        destination = {"claimName": "team"}
        brief.apply("ready", modelRef="hf:acme/tiny", reclaimPolicy="Delete", destination=destination)
        brief.until("ready", "Available")
        gate = bench.hub.pause_at(SIZE // 2)
        brief.apply("large", modelRef="hf:acme/large", destination=destination)
        gate.wait_reached()
        cluster.finish_namespace(brief.namespace, SOON_SECONDS)
        gate.release()
        eventually(lambda: not node.running, "its worker has ended")
        assert len(node.jobs) == 1
        bench.apply("next", modelRef="hf:acme/tiny:Q8_0")
        bench.until("next", "Available")
    assert operator.process.poll() is None
    assert "Traceback" not in operator.output()
    assert "CleanupPostponed" not in operator.output()


def test_gates_are_opened_and_engines_told_in_namespaces_that_come_later(bench: Stand) -> None:
    """The operator is told the mount of a namespace that does not exist yet."""
    later = f"{bench.namespace}-later"
    volume = bench.volume.parent / later
    start(bench, flags=(f"--store={later}/models={volume}", "--gates", "--create-models", "--catalog-engine=llama-cpp"))
    bench.apply("tiny", modelRef="hf:acme/tiny")
    bench.until("tiny", "Available")
    with bench.neighbour(later) as other:
        for one, name in ((bench, "mine"), (other, "theirs")):
            GatedPods(one.cluster.api, one.namespace).using(name, "hf:acme/tiny:Q8_0")
        for one, name in ((bench, "mine"), (other, "theirs")):
            pods = GatedPods(one.cluster.api, one.namespace)
            eventually(lambda pods=pods, name=name: pods.is_open(name), f"the gate of {name} is open")  # type: ignore[misc]
            assert pods.annotations(name)["model-path-0"] == "/models/hf/acme/tiny/tiny.Q8_0.gguf"
            eventually(lambda one=one: "tiny.Q8_0.gguf" in told_to_llama_cpp(one), "the engine is told")  # type: ignore[misc]
        removed = f"/api/v1/namespaces/{later}/configmaps/model-catalog-llama-cpp"
        bench.cluster.api.delete(removed)
        eventually(lambda: "tiny.Q8_0.gguf" in told_to_llama_cpp(other), "the one watch has seen the deletion")


def told_to_llama_cpp(bench: Stand) -> str:
    """What the ConfigMap of this engine says, empty if there is none."""
    try:
        found = bench.cluster.api.get(f"/api/v1/namespaces/{bench.namespace}/configmaps/model-catalog-llama-cpp")
    except ApiError:
        return ""
    return str(found.get("data") or "")


def test_the_sweep_removes_records_of_objects_that_are_gone_and_of_no_other(bench: Stand) -> None:
    with bench.neighbour(f"{bench.namespace}-other") as other:
        operator = start(bench, other)
        for one in (bench, other):
            for name, ref in (("gone", "hf:acme/tiny"), ("kept", "hf:acme/tiny:Q8_0")):
                one.apply(name, modelRef=ref)
                one.until(name, "Available")
            assert len(records(one)) == 2
        operator.stop()
        for one in (bench, other):
            one.patch("gone", finalizers=None)
            one.delete("gone")
            one.until_gone("gone")
        start(bench, other)
        for one in (bench, other):
            uid = one.get("kept")["metadata"]["uid"]
            eventually(lambda one=one, uid=uid: records(one) == [f"{uid}.json"], "the record of the other is gone")  # type: ignore[misc]
            assert one.ready("kept")["status"] == "True"
            eventually(lambda one=one: "gone.path" not in one.catalog(), "the catalog lists it no more")  # type: ignore[misc]


def records(bench: Stand) -> list[str]:
    return sorted(file.name for file in (bench.volume / ".provisioner" / "holders").iterdir())


def test_without_the_right_the_operator_says_what_it_lacks(bench: Stand, cluster: Cluster) -> None:
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]}
    cluster.grant(bench.namespace, "the-operator", leases)
    kubeconfig = cluster.kubeconfig_for_service_account(bench.namespace, "the-operator")
    operator = bench.start_operator(
        f"--kubeconfig={kubeconfig}", "--watch-namespace=*", f"--lease-namespace={bench.namespace}"
    )
    assert operator.process.wait(SOON_SECONDS) == 1
    assert "no namespace is served" in operator.output()
    assert "Grant it a ClusterRole" in operator.output()
