"""From the annotation to the model: the API server, the chart's policies and rights, and the operator are real.

The namespaces enforce the restricted Pod Security standard. No scheduler and no kubelet runs: what a container would be
told is read as the kubelet reads it, and looked up on the volume.
"""

import json
import re
from collections.abc import Iterator

import pytest

from deploy.local.api import Document
from deploy.local.cluster import Cluster
from tests.chart.injection.pods import GATE, Served, env, pod
from tests.chart.injection.workloads import template, workload
from tests.chart.installing import install
from tests.support.gated_pods import GatedPods
from tests.support.ggufs import tiny_gguf, tiny_projector
from tests.support.programs import eventually
from tests.support.stand import Stand, stand

pytestmark = pytest.mark.xdist_group("injection-with-operator")  # one process makes what all of them use

ACCOUNT = "model-provisioner"
MOUNT = "/models"
OTHER_PLACES = ("--store=", "--health-listen=", "--metrics-listen=", "--lease-namespace=")
"""Flags of the chart that have an address or a directory of the pod."""


@pytest.fixture(scope="module")
def bench(served: Served, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The operator of the release `served`, with the chart's flags and a token of the chart's account."""
    for namespace in (served.home, served.other):
        install(cluster.api, served.rendering, namespace)
    with stand(cluster, served.home, tmp_path_factory.mktemp("stand")) as made:
        repository = made.hub.repository("acme/tiny")
        for number, quantisation in enumerate(("Q4_K_M", "Q5_K_M", "Q8_0")):
            repository.add(f"tiny.{quantisation}.gguf", tiny_gguf(seed=number))
        seeing = made.hub.repository("acme/seeing")
        seeing.add("seeing.Q4_K_M.gguf", tiny_gguf(seed=7))
        seeing.add("mmproj-seeing-f16.gguf", tiny_projector())
        given = [one for one in served.rendering.container("operator")["args"][1:] if not one.startswith(OTHER_PLACES)]
        kubeconfig = cluster.kubeconfig_for_service_account(served.home, ACCOUNT)
        made.start_operator(*given, f"--kubeconfig={kubeconfig}", "--node-name=node-1")
        yield made
        assert "forbidden" not in made.operator_output()


@pytest.fixture
def pods(bench: Stand) -> GatedPods:
    return GatedPods(bench.cluster.api, bench.namespace)


def opened(served: Served, pods: GatedPods, created: Document) -> Document:
    """The pod when its gate is open. It was held, and one patch has changed it."""
    name, version = created["metadata"]["name"], created["metadata"]["resourceVersion"]
    assert created["spec"]["schedulingGates"] == [GATE]
    assert told(created) == {}
    eventually(lambda: pods.is_open(name), f"the gate of {name} is open")
    path = f"/api/v1/namespaces/{served.home}/pods"
    query = f"watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3D{name}&resourceVersion={version}"
    _, text = served.api.exchange(
        "GET", f"{path}?{query}", None, content_type="application/json", accept="application/json"
    )
    changes = [json.loads(line) for line in text.splitlines()]
    assert [one["type"] for one in changes] == ["MODIFIED"]
    found: Document = changes[0]["object"]
    assert "schedulingGates" not in found["spec"]
    return found


def told(stored: Document) -> dict[str, str]:
    """The annotations that the operator has written, without the prefix."""
    annotations = stored["metadata"]["annotations"]
    return {key.partition("/")[2]: annotations[key] for key in annotations if "/model-" in key}


def values(stored: Document) -> dict[str, str]:
    """The variables of the server, as the kubelet reads them: empty for an annotation that is not there."""
    found = {}
    for one in env(stored):
        (key,) = re.findall(r"^metadata\.annotations\['(.+)'\]$", one["valueFrom"]["fieldRef"]["fieldPath"])
        found[one["name"]] = stored["metadata"]["annotations"].get(key, "")
    return found


def on_volume(bench: Stand, path: str) -> bytes:
    """The content of the file that a container finds at `path`."""
    assert path.startswith(f"{MOUNT}/")
    return (bench.volume / path.removeprefix(f"{MOUNT}/")).read_bytes()


def test_a_pod_that_names_an_object_gets_its_model_when_it_is_there(
    served: Served, bench: Stand, pods: GatedPods
) -> None:
    created = served.create(pod("tinyllama"))
    name = created["metadata"]["name"]
    message = eventually(lambda: pods.told(name, "ModelNotFound"), "it is told what is missing")
    assert message.startswith(f"there is no ModelDownload tinyllama in namespace {served.home}: create it")

    bench.apply("tinyllama", modelRef="hf:acme/tiny:Q4_K_M")
    stored = opened(served, pods, created)
    path = f"{MOUNT}/hf/acme/tiny/tiny.Q4_K_M.gguf"
    assert values(stored) == {"MODEL_PATH": path, "MODEL_NAME": "tinyllama"}
    assert on_volume(bench, path) == tiny_gguf(seed=0)
    assert told(stored) == {"model-path-0": path, "model-name-0": "tinyllama"}
    required = stored["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert "node-1" in str(required), "the claim is for one node"


def test_a_pod_that_names_a_ref_alone_has_the_model_found_and_fetched(
    served: Served, bench: Stand, pods: GatedPods
) -> None:
    assert bench.hub.bytes_sent("tiny.Q8_0.gguf") == 0
    stored = opened(served, pods, served.create(pod("hf:acme/tiny:Q8_0")))
    found = values(stored)
    assert on_volume(bench, found["MODEL_PATH"]) == tiny_gguf(seed=2)
    assert bench.ready(found["MODEL_NAME"])["status"] == "True"
    assert bench.get(found["MODEL_NAME"])["spec"]["modelRef"] == "hf:acme/tiny:Q8_0"


def test_a_pod_of_several_models_has_a_variable_for_each(served: Served, bench: Stand, pods: GatedPods) -> None:
    bench.apply("my.own-model", modelRef="hf:acme/tiny:Q5_K_M")
    stored = opened(served, pods, served.create(pod("my.own-model , hf:acme/seeing:Q4_K_M")))
    found = values(stored)
    assert set(found) == {"MODEL_PATH_MY_OWN_MODEL", "MODEL_PATH_HF_ACME_SEEING_Q4_K_M"}
    assert on_volume(bench, found["MODEL_PATH_MY_OWN_MODEL"]) == tiny_gguf(seed=1)
    assert on_volume(bench, found["MODEL_PATH_HF_ACME_SEEING_Q4_K_M"]) == tiny_gguf(seed=7)
    assert [told(stored)["model-name-0"], bench.exists(told(stored)["model-name-1"])] == ["my.own-model", True]


def test_a_container_can_ask_for_the_projector_too(served: Served, bench: Stand, pods: GatedPods) -> None:
    created = pod("seeing")
    field = {"fieldPath": "metadata.annotations['models.rbee.dev/model-projector-0']"}
    created["spec"]["containers"][0]["env"] = [{"name": "MODEL_PROJECTOR", "valueFrom": {"fieldRef": field}}]
    bench.apply("seeing", modelRef="hf:acme/seeing:Q4_K_M", projector="Auto")
    found = values(opened(served, pods, served.create(created)))
    assert list(found) == ["MODEL_PATH", "MODEL_NAME", "MODEL_PROJECTOR"]
    assert on_volume(bench, found["MODEL_PATH"]) == tiny_gguf(seed=7)
    assert on_volume(bench, found["MODEL_PROJECTOR"]) == tiny_projector()


def test_the_pod_of_a_deployment_gets_its_model(served: Served, bench: Stand, pods: GatedPods) -> None:
    """The Deployment is accepted as it is, and its pod, which its controller makes, is changed."""
    manifest = workload("Deployment", "server", template(use="hf:acme/tiny:Q4_K_M"))
    (deployment,) = bench.cluster.apply(manifest, served.home)
    made = deployment["spec"]["template"]
    created = served.create({"metadata": {**made["metadata"], "generateName": "server-"}, "spec": made["spec"]})
    assert on_volume(bench, values(opened(served, pods, created))["MODEL_PATH"]) == tiny_gguf(seed=0)
