"""The policies of `deploy/policies` on a real API server: what they refuse, and that they hold up nothing else."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.api import ApiError, Document
from deploy.local.cluster import Cluster
from model_provisioner.kube import resource

POLICIES = Path(__file__).parents[2] / "deploy" / "policies"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
DIGEST = f"sha256:{'0' * 64}"
WITHIN = 60.0  # seconds until the API server applies a policy that is new


def model(ref: str, name: str = "model", **spec: Any) -> Document:
    metadata = {"name": name, "finalizers": ["models.rbee.dev/operator"]}
    return {
        "apiVersion": resource.API_VERSION,
        "kind": "ModelDownload",
        "metadata": metadata,
        "spec": {"modelRef": ref, **spec},
    }


def refusal(cluster: Cluster, namespace: str, document: Document) -> str:
    """The message with which a dry run is refused, empty if it is not."""
    try:
        cluster.api.create(f"{resource.collection_path(namespace)}?dryRun=All", document)
    except ApiError as error:
        return error.message
    return ""


@contextmanager
def enforced(cluster: Cluster, namespace: str, file: str, refused: Document) -> Iterator[None]:
    """Applies a policy as it is in the file, but to `namespace` only; returns when `refused` is refused."""
    documents = list(yaml.safe_load_all((POLICIES / file).read_text()))
    for document in documents:
        if document["kind"] == "ConfigMap":
            document["metadata"]["namespace"] = namespace
        if document["kind"] == "ValidatingAdmissionPolicyBinding":
            here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
            document["spec"]["matchResources"] = here
            if "paramRef" in document["spec"]:
                document["spec"]["paramRef"]["namespace"] = namespace
    stored = cluster.api.apply(documents)
    (policy,) = [one["metadata"]["name"] for one in stored if one["kind"] == "ValidatingAdmissionPolicy"]
    try:
        wait_until_refused(cluster, namespace, refused)
        yield
    finally:
        for kind in ("validatingadmissionpolicybindings", "validatingadmissionpolicies"):
            cluster.api.delete(f"{ADMISSION}/{kind}/{policy}")


def wait_until_refused(cluster: Cluster, namespace: str, document: Document) -> None:
    deadline = time.monotonic() + WITHIN
    while not refusal(cluster, namespace, document):
        assert time.monotonic() < deadline, "the policy is not applied"
        time.sleep(0.1)


STRANGER = model("hf:stranger/model:Q4_K_M")

PREFIXES = [
    ("hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF", True),
    ("oci://registry.example.com/models/tiny:1", True),
    ("local:tiny.gguf", True),
    ("hf:TheBlokeEvil/model", False),
    ("oci://registry.example.com.evil.example/models/tiny:1", False),
    ("ollama:tinyllama", False),
]


def test_a_ref_must_begin_with_a_listed_prefix(cluster: Cluster, namespace: str) -> None:
    with enforced(cluster, namespace, "allowed-refs.yaml", STRANGER):
        for ref, allowed in PREFIXES:
            message = refusal(cluster, namespace, model(ref))
            assert (message == "") is allowed, (ref, message)
        assert "spec.modelRef must begin with one of hf:TheBloke/, hf:ggml-org/" in refusal(
            cluster, namespace, STRANGER
        )


DIGESTS = [
    (model("hf:TheBloke/x", digest=DIGEST), True),
    (model(f"oci://registry.example.com/tiny@{DIGEST}"), True),
    (model("oci://registry.example.com/tiny:1"), False),
    (model("hf:TheBloke/x"), False),
]


def test_a_digest_is_required(cluster: Cluster, namespace: str) -> None:
    with enforced(cluster, namespace, "required-digest.yaml", STRANGER):
        for document, allowed in DIGESTS:
            message = refusal(cluster, namespace, document)
            assert (message == "") is allowed, (document, message)
        assert "spec.digest must be set" in refusal(cluster, namespace, STRANGER)


def test_a_namespace_lists_its_sources(cluster: Cluster, namespace: str) -> None:
    with enforced(cluster, namespace, "sources-per-namespace.yaml", model("ollama:tiny")):
        assert "hf is not a source" in refusal(cluster, namespace, STRANGER), "without the annotation there is none"
        annotated = {"metadata": {"annotations": {"models.rbee.dev/sources": "hf, oci"}}}
        cluster.api.merge(f"/api/v1/namespaces/{namespace}", annotated)
        deadline = time.monotonic() + WITHIN
        while refusal(cluster, namespace, STRANGER):
            assert time.monotonic() < deadline, "the annotation is not read"
            time.sleep(0.1)
        assert refusal(cluster, namespace, model("oci://registry.example.com/tiny:1")) == ""
        assert "ask the administrator to add it" in refusal(cluster, namespace, model("ollama:tiny"))


@pytest.mark.parametrize("file", ["allowed-refs.yaml", "required-digest.yaml", "sources-per-namespace.yaml"])
def test_an_object_from_before_can_be_deleted_and_not_be_changed_to_another_model(
    cluster: Cluster, namespace: str, file: str
) -> None:
    path = resource.object_path(namespace, "model")
    cluster.api.create(resource.collection_path(namespace), STRANGER)
    with enforced(cluster, namespace, file, model("hf:stranger/other", "another")):
        cluster.api.merge(path, {"metadata": {"labels": {"a": "1"}}})
        cluster.api.merge(f"{path}/status", {"status": {"observedGeneration": 1}})
        with pytest.raises(ApiError, match="denied request"):
            cluster.api.merge(path, {"spec": {"modelRef": "hf:stranger/other"}})
        cluster.api.delete(path)
        cluster.api.merge(path, {"metadata": {"finalizers": None}})
        with pytest.raises(ApiError, match="not found"):
            cluster.api.get(path)


def test_a_quota_counts_model_downloads(cluster: Cluster, namespace: str) -> None:
    (quota,) = cluster.api.apply(POLICIES / "quota.yaml", namespace)
    counted = "count/modeldownloads.models.rbee.dev"
    assert quota["spec"]["hard"] == {counted: "20"}
    # The controller-manager, which is missing here, writes what the API server then counts.
    path = f"/api/v1/namespaces/{namespace}/resourcequotas/modeldownloads"
    cluster.api.merge(f"{path}/status", {"status": {"hard": {counted: "2"}, "used": {counted: "0"}}})
    with pytest.raises(ApiError, match="exceeded quota: modeldownloads"):
        create_many(cluster, namespace)


def create_many(cluster: Cluster, namespace: str) -> None:
    """Creates more objects than a quota allows: the first ones may come before the API server knows it."""
    for number in range(300):
        cluster.api.create(resource.collection_path(namespace), model("hf:acme/tiny", f"model-{number}"))


def test_every_policy_is_in_the_documentation() -> None:
    page = (POLICIES.parents[1] / "docs" / "security.md").read_text()
    assert [file.name for file in sorted(POLICIES.iterdir()) if f"deploy/policies/{file.name}" not in page] == []
