"""The chart's `defaults` on a real API server: which fields a new ModelDownload gets, and which it keeps."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local.api import ApiError, Document
from deploy.local.cluster import Cluster
from model_provisioner.kube import resource
from tests.chart.installing import create
from tests.chart.rendering import Helm, HelmError

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
WITHIN = 60.0  # seconds until the API server applies a policy that is new, also to a type that is new
LIMIT, SECRET = 'defaults.maxBytesPerSecond="50Mi"', 'defaults.credentialsSecret="hub"'

CASES: list[tuple[tuple[str, ...], dict[str, Any], dict[str, Any]]] = [
    ((LIMIT, SECRET), {}, {"maxBytesPerSecond": "50Mi", "credentialsSecretRef": {"name": "hub"}}),
    ((LIMIT,), {}, {"maxBytesPerSecond": "50Mi"}),
    ((SECRET,), {"maxBytesPerSecond": "1Gi"}, {"maxBytesPerSecond": "1Gi", "credentialsSecretRef": {"name": "hub"}}),
    (
        (LIMIT, SECRET),
        {"maxBytesPerSecond": 70000},
        {"maxBytesPerSecond": 70000, "credentialsSecretRef": {"name": "hub"}},
    ),
    ((SECRET,), {"credentialsSecretRef": {"name": "own"}}, {"credentialsSecretRef": {"name": "own"}}),
]


@pytest.fixture
def installed(helm: Helm, cluster: Cluster, namespace: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """The policy of a release in `namespace` with the values of the parameter."""
    rendering = helm.render(*request.param, namespace=namespace)
    kinds = ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding")
    objects = [one for kind in kinds for one in rendering.kind(kind)]
    for one in objects:
        create(cluster.api, one)
    try:
        yield
    finally:
        for plural in ("mutatingadmissionpolicybindings", "mutatingadmissionpolicies"):
            cluster.api.delete(f"{ADMISSION}/{plural}/{objects[0]['metadata']['name']}")


@pytest.mark.parametrize(("installed", "given", "expected"), CASES, indirect=["installed"])
@pytest.mark.usefixtures("installed")
def test_a_new_object_gets_the_fields_that_its_manifest_leaves_out(
    cluster: Cluster, namespace: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    wait_until_applied(cluster, namespace)
    made = create_model(cluster, namespace, given)["spec"]
    assert {field: made.get(field) for field in expected} == expected
    assert {"maxBytesPerSecond", "credentialsSecretRef"} & set(made) == set(expected)
    assert (made["connections"], made["reclaimPolicy"]) == (8, "Retain"), "the definition's own"


@pytest.mark.parametrize("installed", [(LIMIT, SECRET)], indirect=True)
@pytest.mark.usefixtures("installed")
def test_a_field_can_be_removed_later_and_other_namespaces_have_no_defaults(cluster: Cluster, namespace: str) -> None:
    wait_until_applied(cluster, namespace)
    assert "maxBytesPerSecond" not in create_model(cluster, "default", {}, dry_run=True)["spec"]
    name = create_model(cluster, namespace, {})["metadata"]["name"]
    path = resource.object_path(namespace, name)
    changed = cluster.api.merge(path, {"spec": {"maxBytesPerSecond": None}})
    assert "maxBytesPerSecond" not in changed["spec"]


def test_an_older_cluster_is_told_at_once(helm: Helm) -> None:
    flags = ("--set-json", LIMIT, "--kube-version", "1.35.3")
    with pytest.raises(HelmError, match=r"defaults need Kubernetes 1\.36 or later"):
        helm.template_with(*flags)
    assert "MutatingAdmissionPolicy" in helm.template_with(*flags[:2], "--kube-version", "1.36.0-gke.100")


def test_no_policy_is_made_without_defaults(helm: Helm) -> None:
    assert helm.render().kind("MutatingAdmissionPolicy") == []


def create_model(cluster: Cluster, namespace: str, spec: dict[str, Any], *, dry_run: bool = False) -> Document:
    document = {
        "apiVersion": resource.API_VERSION,
        "kind": "ModelDownload",
        "metadata": {"generateName": "model-"},
        "spec": {"modelRef": "hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF", **spec},
    }
    return cluster.api.create(resource.collection_path(namespace) + ("?dryRun=All" if dry_run else ""), document)


def wait_until_applied(cluster: Cluster, namespace: str) -> None:
    """Returns when a dry run gets one of the fields. It is refused while the API server does not know the type."""
    deadline = time.monotonic() + WITHIN
    while not {"maxBytesPerSecond", "credentialsSecretRef"} & set(spec_of_a_dry_run(cluster, namespace)):
        assert time.monotonic() < deadline, "the policy is not applied"
        time.sleep(0.1)


def spec_of_a_dry_run(cluster: Cluster, namespace: str) -> Document:
    try:
        spec: Document = create_model(cluster, namespace, {}, dry_run=True)["spec"]
    except ApiError as error:
        if "There can be a delay" not in error.message:
            raise
        return {}
    return spec
