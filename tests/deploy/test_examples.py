"""The examples of `deploy/examples` on a real API server: every field is known, and pods run where Pod Security admits.

No controller acts here, and KServe's own definitions leave `spec` open: its containers are checked as those of a pod.
`tests/engines` runs llama.cpp's server with the arguments of its examples.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.local.api import ApiError, Document
from deploy.local.cluster import Cluster
from model_provisioner.domain.annotations import USE
from model_provisioner.domain.engines.engine import Engine
from model_provisioner.domain.engines.llama_cpp import LLAMA_CPP
from model_provisioner.domain.engines.localai import LOCALAI
from model_provisioner.domain.store.paths import OLLAMA_VIEW
from tests.chart.installing import create

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
DIRECTORIES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
WITHOUT_PRIVILEGES = ["llama-cpp", "llama-cpp-router"]  # the images of the others run as root


def documents(name: str, namespace: str) -> Iterator[Document]:
    for file in sorted((EXAMPLES / name).glob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            document["metadata"]["namespace"] = namespace
            yield document


def pods(name: str, namespace: str) -> Iterator[Document]:
    """The pods that the objects of an example are templates of."""
    for document in documents(name, namespace):
        spec = document["spec"]
        template = spec.get("template") or {"metadata": {}, "spec": {"containers": spec.get("containers")}}
        if template["spec"]["containers"]:
            metadata = {**template["metadata"], "name": document["metadata"]["name"], "namespace": namespace}
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.mark.parametrize("name", DIRECTORIES)
def test_the_api_server_accepts_every_object_and_knows_every_field(name: str, foreign: Cluster, namespace: str) -> None:
    objects = [*documents(name, namespace), *pods(name, namespace)]
    for document in objects:
        create(foreign.api, document, dry_run=True)
    kinds = [one["kind"] for one in objects]
    assert kinds == (
        ["ServingRuntime", "InferenceService", "Pod"] if name == "kserve" else ["Deployment", "Service", "Pod"]
    )


@pytest.mark.parametrize("name", DIRECTORIES)
def test_a_service_leads_to_a_port_of_its_pods(name: str) -> None:
    by_kind = {one["kind"]: one["spec"] for one in documents(name, "models")}
    if name == "kserve":
        runtime, service = by_kind["ServingRuntime"], by_kind["InferenceService"]["predictor"]["model"]
        assert runtime["supportedModelFormats"][0]["name"] == service["modelFormat"]["name"]
        return
    template = by_kind["Deployment"]["template"]
    assert (
        by_kind["Service"]["selector"]
        == by_kind["Deployment"]["selector"]["matchLabels"]
        == template["metadata"]["labels"]
    )
    ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
    (port,) = by_kind["Service"]["ports"]
    assert ports == {port["targetPort"]: port["port"]}


@pytest.mark.parametrize("name", DIRECTORIES)
def test_no_pod_mounts_a_part_of_the_volume_and_none_writes_to_it(name: str) -> None:
    """The kubelet creates a `subPath` that is not there as root, and does not update the file of a ConfigMap in one."""
    containers = [container for pod in pods(name, "models") for container in pod["spec"]["containers"]]
    mounts = [mount for container in containers for mount in container.get("volumeMounts", [])]
    assert [mount for mount in mounts if "subPath" in mount] == []
    assert [mount for mount in mounts if mount["name"] == "models" and not mount.get("readOnly")] == []


@pytest.mark.parametrize(("name", "engine"), [("llama-cpp-router", LLAMA_CPP), ("localai", LOCALAI)])
def test_a_server_of_many_models_reads_the_file_that_the_operator_writes(name: str, engine: Engine) -> None:
    (pod,) = pods(name, "models")
    container, volumes = pod["spec"]["containers"][0], {one["name"]: one for one in pod["spec"]["volumes"]}
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    (place,) = (
        mount["mountPath"]
        for mount in container["volumeMounts"]
        if volumes[mount["name"]].get("configMap", {}).get("name") == engine.config_map_name
    )
    words = [*container.get("args", []), *(one["value"] for one in container.get("env", []))]
    assert f"{place}/{engine.key(claim)}" in words
    assert f"--set 'catalog.engines={{{engine.name}}}'" in (EXAMPLES / name / "README.md").read_text()


def test_ollama_reads_the_directory_that_the_operator_keeps() -> None:
    (pod,) = pods("ollama", "models")
    environment = {one["name"]: one["value"] for one in pod["spec"]["containers"][0]["env"]}
    assert environment["OLLAMA_MODELS"] == "/".join(("/models", *OLLAMA_VIEW))


@pytest.mark.parametrize("name", ["llama-cpp", "vllm"])
def test_a_pod_with_the_annotation_takes_its_path_from_the_variable(name: str) -> None:
    (pod,) = pods(name, "models")
    assert list(pod["metadata"]["annotations"]) == [USE]
    assert "$(MODEL_PATH)" in pod["spec"]["containers"][0]["args"]


@pytest.mark.parametrize("name", WITHOUT_PRIVILEGES)
def test_the_pods_of_llama_cpp_run_where_pod_security_is_restricted(name: str, cluster: Cluster) -> None:
    restricted = f"restricted-{uuid.uuid4().hex[:8]}"
    cluster.create_namespace(restricted, {"pod-security.kubernetes.io/enforce": "restricted"})
    (pod,) = pods(name, restricted)
    create(cluster.api, pod, dry_run=True)
    pod["spec"]["containers"][0].pop("securityContext")
    with pytest.raises(ApiError, match="violates PodSecurity"):
        create(cluster.api, pod, dry_run=True)


def test_the_list_names_every_example() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    assert [name for name in DIRECTORIES if f"| [{name}]({name}) |" not in listed] == []


@pytest.mark.parametrize("name", DIRECTORIES)
def test_the_page_of_an_example_is_short_and_applies_it(name: str) -> None:
    page = (EXAMPLES / name / "README.md").read_text()
    assert f"kubectl apply -n models -f deploy/examples/{name}\n" in page
    assert len(page.splitlines()) <= 20
