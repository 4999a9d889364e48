"""What the chart makes of the values of the injection."""

import pytest

from tests.chart.injection.conftest import ON
from tests.chart.rendering import Helm, HelmError, Manifest, Rendering

KINDS = [
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
]


def policies(rendering: Rendering) -> list[Manifest]:
    return [one for one in rendering.manifests if "AdmissionPolicy" in one["kind"]]


def test_there_are_no_policies_by_default(helm: Helm) -> None:
    assert policies(helm.render()) == []
    assert policies(helm.render("gates.enabled=true")) == []


def test_two_releases_have_policies_of_different_names(helm: Helm) -> None:
    here = policies(helm.render(*ON, namespace="here"))
    there = policies(helm.render(*ON, namespace="there"))
    assert sorted(one["kind"] for one in here) == KINDS
    assert {one["metadata"]["name"] for one in here} == {"here-model-provisioner-injection"}
    assert {one["metadata"]["name"] for one in there} == {"there-model-provisioner-injection"}


def test_both_bindings_select_the_served_namespaces_by_name(helm: Helm) -> None:
    rendering = helm.render(*ON, 'watchNamespaces=["ml","ai"]')
    for kind in ("MutatingAdmissionPolicyBinding", "ValidatingAdmissionPolicyBinding"):
        (binding,) = rendering.kind(kind)
        (expression,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
        assert expression == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["ai", "ml"]}


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
def test_the_value_decides_what_happens_when_a_policy_fails(helm: Helm, policy: str) -> None:
    rendering = helm.render(*ON, f'injection.failurePolicy="{policy}"')
    found = {one["spec"]["failurePolicy"] for one in policies(rendering) if "failurePolicy" in one["spec"]}
    assert found == {policy}


@pytest.mark.parametrize(("version", "accepted"), [("1.35.9", False), ("1.36.0", True), ("v1.36.2-gke.100", True)])
def test_an_older_kubernetes_is_refused_with_what_to_do(helm: Helm, version: str, accepted: bool) -> None:
    flags = [part for setting in ON for part in ("--set", setting)]
    if accepted:
        assert "MutatingAdmissionPolicy" in helm.template_with(*flags, "--kube-version", version)
        return
    with pytest.raises(HelmError) as refused:
        helm.template_with(*flags, "--kube-version", version)
    message = str(refused.value)
    assert (
        f"needs Kubernetes 1.36 or later (MutatingAdmissionPolicy in admissionregistration.k8s.io/v1), not v{version}"
        in message
    )
    assert "docs/workers.md" in message
    assert "--kube-version" in message


def test_an_older_kubernetes_is_no_problem_without_it(helm: Helm) -> None:
    assert "MutatingAdmissionPolicy" not in helm.template_with("--kube-version", "1.29.0")


def test_an_existing_claim_and_another_path_are_the_defaults_of_pods(helm: Helm) -> None:
    settings = ('persistence.existingClaim="lake"', 'catalog.mountPath="/srv/models"')
    (policy,) = helm.render(*ON, *settings, namespace="ml").kind("MutatingAdmissionPolicy")
    variables = {one["name"]: one["expression"] for one in policy["spec"]["variables"]}
    assert "request.namespace == 'ml' ? 'lake' : ''" in variables["claim"]
    assert "orValue('/srv/models')" in variables["mountPath"]


def test_both_policies_read_the_annotations_alike(helm: Helm) -> None:
    rendering = helm.render(*ON)
    (changes,), (refuses,) = (rendering.kind(f"{kind}AdmissionPolicy") for kind in ("Mutating", "Validating"))
    variables = {one["name"]: one["expression"] for one in changes["spec"]["variables"]}
    rules = [one["expression"] for one in refuses["spec"]["validations"]]
    left = [rule for rule in rules if rule not in variables["right"]]
    assert [rule.startswith("request.kind.kind != 'Pod'") for rule in left] == [True], "the one that is for pods only"
    shared = {one["name"]: one["expression"] for one in refuses["spec"]["variables"]}
    assert {name for name in shared if shared[name] != variables.get(name)} == {"template", "containers"}
