"""The rendered chart on a real API server: validation, Pod Security, and the rights that RBAC enforces.

There is no controller here, so a Deployment's pod is created directly, as the controller would from its template.
"""

import copy
import uuid
from typing import Any

import pytest

from deploy.local.api import ApiError
from deploy.local.cluster import Cluster
from tests.chart.installing import create, install
from tests.chart.rendering import Helm, Manifest, Rendering

OPERATOR, GATEWAY, UNINSTALL = "model-provisioner", "model-provisioner-gateway", "model-provisioner-uninstall"

EVERYTHING = (
    'watchNamespaces=["default"]',
    'endpoints.hf="https://hub.example.com"',
    'allowedHosts=["a.example:8443"]',
    'allowedNetworks=["10.1.0.0/16"]',
    "ambientCredentials=true",
    'serviceAccountAnnotations={"eks.amazonaws.com/role-arn":"arn:aws:iam::123456789012:role/models"}',
    'caSecret.name="corporate"',
    'service.type="NodePort"',
    'persistence.storageClassName=""',
    'imagePullSecrets=[{"name":"registry"}]',
    'podAnnotations={"a":"1"}',
    'podLabels={"tier":"batch"}',
    'commonLabels={"team":"ml"}',
    'nodeSelector={"disk":"nvme"}',
    'tolerations=[{"key":"gpu","operator":"Exists"}]',
    'extraEnv=[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}]',
    'extraVolumes=[{"name":"cache","emptyDir":{}}]',
    'extraVolumeMounts=[{"name":"cache","mountPath":"/cache"}]',
    "networkPolicy.enabled=true",
    'networkPolicy.apiServer.networks=["10.0.0.1/32"]',
    'networkPolicy.gateway.from=[{"podSelector":{"matchLabels":{"app":"portal"}}}]',
    'networkPolicy.extraEgress=[{"to":[{"ipBlock":{"cidr":"10.0.0.0/8"}}],"ports":[{"port":3128}]}]',
    'affinity={"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":'
    '{"nodeSelectorTerms":[{"matchExpressions":[{"key":"disk","operator":"Exists"}]}]}}}',
)

OWN_GATEWAY = (
    'gateway.mode="Deployment"',
    "gateway.replicas=2",
    'gateway.topologySpreadConstraints=[{"topologyKey":"zone","maxSkew":1,"whenUnsatisfiable":"ScheduleAnyway"}]',
    'ingress={"enabled":true,"className":"nginx","hosts":["a.example"],"tlsSecretName":"page"}',
)

RENDERINGS = [
    ("default", ()),
    ("everything", EVERYTHING),
    ("without gateway", ("gateway.enabled=false",)),
    ("a gateway of its own", OWN_GATEWAY),
]


@pytest.fixture
def restricted(cluster: Cluster) -> str:
    """A fresh namespace that enforces the restricted Pod Security standard."""
    name = f"restricted-{uuid.uuid4().hex[:8]}"
    cluster.create_namespace(name, {"pod-security.kubernetes.io/enforce": "restricted"})
    return name


@pytest.fixture(scope="module")
def installed(helm: Helm, cluster: Cluster) -> str:
    """A namespace with the service accounts and the rights of the default rendering."""
    name = f"chart-{uuid.uuid4().hex[:8]}"
    cluster.create_namespace(name)
    install(cluster.api, helm.render(namespace=name), name)
    return name


@pytest.mark.parametrize("settings", [row[1] for row in RENDERINGS], ids=[row[0] for row in RENDERINGS])
def test_the_api_server_accepts_every_object_and_knows_every_field(
    helm: Helm, cluster: Cluster, restricted: str, settings: tuple[str, ...]
) -> None:
    manifests = helm.render(*settings, namespace=restricted).manifests
    stored = [create(cluster.api, manifest, dry_run=True) for manifest in manifests]
    assert [one["metadata"]["name"] for one in stored] == [one["metadata"]["name"] for one in manifests]


def test_a_field_that_the_api_server_does_not_know_would_be_refused(
    helm: Helm, cluster: Cluster, restricted: str
) -> None:
    (deployment,) = helm.render(namespace=restricted).kind("Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessprobe"] = {}
    with pytest.raises(ApiError, match="livenessprobe"):
        create(cluster.api, deployment, dry_run=True)


@pytest.mark.parametrize("settings", [row[1] for row in RENDERINGS], ids=[row[0] for row in RENDERINGS])
def test_the_pod_runs_where_pod_security_is_restricted(
    helm: Helm, cluster: Cluster, restricted: str, settings: tuple[str, ...]
) -> None:
    rendering = install(cluster.api, helm.render(*settings, namespace=restricted), restricted)
    stored = create(cluster.api, pod(rendering, restricted))
    assert stored["spec"]["automountServiceAccountToken"] is False
    assert [volume for volume in stored["spec"]["volumes"] if volume["name"].startswith("kube-api-access")] == []


def test_a_gateway_in_a_pod_of_its_own_runs_there_too(helm: Helm, cluster: Cluster, restricted: str) -> None:
    rendering = install(cluster.api, helm.render(*OWN_GATEWAY, namespace=restricted), restricted)
    stored = create(cluster.api, pod(rendering, restricted, "gateway"))
    assert stored["spec"]["serviceAccountName"] == GATEWAY
    assert rendering.kind("Secret") == [], "Kubernetes renews a projected token, and that of a Secret never ends"


@pytest.mark.parametrize("settings", [row[1] for row in RENDERINGS], ids=[row[0] for row in RENDERINGS])
def test_the_uninstall_jobs_pod_runs_there_too(
    helm: Helm, cluster: Cluster, restricted: str, settings: tuple[str, ...]
) -> None:
    rendering = install(cluster.api, helm.render(*settings, namespace=restricted), restricted)
    (job,) = rendering.kind("Job")
    template = job["spec"]["template"]
    metadata = {**template["metadata"], "name": "pod", "namespace": restricted}
    stored = create(cluster.api, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
    assert stored["spec"]["serviceAccountName"] == UNINSTALL
    deployment = rendering.one("Deployment", OPERATOR)
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= stored["metadata"]["labels"].items(), "the Job would wait for itself"


SPEC: tuple[str | int, ...] = ("spec",)
FIRST, SECOND = (("spec", "containers", number, "securityContext") for number in (0, 1))
REMOVED = object()

BROKEN: list[tuple[str, tuple[str | int, ...], Any, str]] = [
    ("operator may escalate", (*FIRST, "allowPrivilegeEscalation"), True, "allowPrivilegeEscalation != false"),
    ("gateway may escalate", (*SECOND, "allowPrivilegeEscalation"), REMOVED, "allowPrivilegeEscalation != false"),
    ("operator keeps capabilities", (*FIRST, "capabilities"), REMOVED, "unrestricted capabilities"),
    ("gateway adds one", (*SECOND, "capabilities", "add"), ["NET_ADMIN"], "unrestricted capabilities"),
    ("may be root", ("spec", "securityContext", "runAsNonRoot"), REMOVED, "runAsNonRoot != true"),
    ("is root", ("spec", "securityContext", "runAsUser"), 0, "runAsUser=0"),
    ("no seccomp profile", ("spec", "securityContext", "seccompProfile"), REMOVED, "seccompProfile"),
    ("unconfined", ("spec", "securityContext", "seccompProfile", "type"), "Unconfined", "seccompProfile"),
    ("host network", (*SPEC, "hostNetwork"), True, "host namespaces"),
    ("host port", ("spec", "containers", 1, "ports", 0, "hostPort"), 8081, "hostPort"),
    ("host path", (*SPEC, "volumes", 0), {"name": "models", "hostPath": {"path": "/models"}}, "hostPath"),
]


@pytest.mark.parametrize(("path", "value", "why"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_template_is_refused_there(
    helm: Helm, cluster: Cluster, restricted: str, *, path: tuple[str | int, ...], value: object, why: str
) -> None:
    rendering = install(cluster.api, helm.render(namespace=restricted), restricted)
    with pytest.raises(ApiError) as refused:
        create(cluster.api, changed(pod(rendering, restricted), path, value))
    assert refused.value.code == 403
    assert 'violates PodSecurity "restricted' in refused.value.message
    assert why in refused.value.message


RIGHTS: list[tuple[str, str, str, str | None, bool]] = [
    (OPERATOR, "watch", "modeldownloads.models.rbee.dev", None, True),
    (OPERATOR, "patch", "modeldownloads.models.rbee.dev/status", "tiny", True),
    (OPERATOR, "delete", "modeldownloads.models.rbee.dev", "tiny", False),
    (OPERATOR, "create", "events", None, True),
    (OPERATOR, "get", "secrets", "hf-token", True),
    (OPERATOR, "list", "secrets", None, False),
    (OPERATOR, "watch", "secrets", None, False),
    (OPERATOR, "patch", "configmaps", "model-catalog", True),
    (OPERATOR, "patch", "configmaps", "settings", False),
    (OPERATOR, "delete", "configmaps", "model-catalog", False),
    (OPERATOR, "delete", "configmaps", "model-catalog-localai", True),
    (OPERATOR, "patch", "configmaps", "model-catalog-localai", False),
    (OPERATOR, "get", "pods", "another-pod", True),
    (OPERATOR, "list", "pods", None, False),
    (OPERATOR, "watch", "pods", None, False),
    (OPERATOR, "get", "pods/log", "another-pod", False),
    (OPERATOR, "create", "pods", None, False),
    (OPERATOR, "delete", "pods", "another-pod", False),
    (OPERATOR, "create", "leases.coordination.k8s.io", None, True),
    (OPERATOR, "patch", "leases.coordination.k8s.io", "model-provisioner", True),
    (OPERATOR, "patch", "leases.coordination.k8s.io", "another", False),
    (GATEWAY, "watch", "modeldownloads.models.rbee.dev", None, True),
    (GATEWAY, "create", "modeldownloads.models.rbee.dev", None, False),
    (GATEWAY, "patch", "modeldownloads.models.rbee.dev", "tiny", False),
    (GATEWAY, "delete", "modeldownloads.models.rbee.dev", "tiny", False),
    (GATEWAY, "get", "secrets", "hf-token", False),
    (GATEWAY, "get", "pods", "another-pod", False),
    (GATEWAY, "get", "leases.coordination.k8s.io", "model-provisioner", True),
    (GATEWAY, "patch", "leases.coordination.k8s.io", "model-provisioner", False),
    (UNINSTALL, "list", "modeldownloads.models.rbee.dev", None, True),
    (UNINSTALL, "patch", "modeldownloads.models.rbee.dev", "tiny", True),
    (UNINSTALL, "patch", "modeldownloads.models.rbee.dev/status", "tiny", False),
    (UNINSTALL, "watch", "modeldownloads.models.rbee.dev", None, False),
    (UNINSTALL, "delete", "modeldownloads.models.rbee.dev", "tiny", False),
    (UNINSTALL, "patch", "deployments.apps/scale", "model-provisioner", True),
    (UNINSTALL, "patch", "deployments.apps/scale", "another", False),
    (UNINSTALL, "patch", "deployments.apps", "model-provisioner", False),
    (UNINSTALL, "list", "pods", None, True),
    (UNINSTALL, "delete", "pods", "another-pod", False),
    (UNINSTALL, "patch", "leases.coordination.k8s.io", "model-provisioner", True),
    (UNINSTALL, "patch", "leases.coordination.k8s.io", "another", False),
    (UNINSTALL, "get", "secrets", "hf-token", False),
    (UNINSTALL, "patch", "configmaps", "model-catalog", False),
]


@pytest.mark.parametrize(
    ("account", "verb", "resource", "name", "allowed"), RIGHTS, ids=[f"{r[0]} {r[1]} {r[2]} {r[3]}" for r in RIGHTS]
)
def test_the_authorizer_agrees(
    cluster: Cluster, installed: str, *, account: str, verb: str, resource: str, name: str | None, allowed: bool
) -> None:
    assert may(cluster, (installed, account), verb, resource, installed, name) is allowed


def test_the_operator_has_no_rights_where_it_does_not_watch(cluster: Cluster, installed: str) -> None:
    operator = (installed, OPERATOR)
    assert not may(cluster, operator, "list", "modeldownloads.models.rbee.dev", "default", None)
    assert not may(cluster, operator, "get", "secrets", "kube-system", "any")
    assert not may(cluster, operator, "get", "pods", "default", "any")


def test_the_right_to_apply_the_catalog_creates_that_one_only(cluster: Cluster, installed: str) -> None:
    operator = cluster.as_service_account(installed, OPERATOR)
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "model-catalog"}}
    (stored,) = operator.apply(document, installed)
    assert stored["metadata"]["name"] == "model-catalog"
    with pytest.raises(ApiError) as refused:
        operator.apply({**document, "metadata": {"name": "settings"}}, installed)
    assert refused.value.code == 403


def may(cluster: Cluster, account: tuple[str, str], verb: str, resource: str, namespace: str, name: str | None) -> bool:
    """Whether RBAC allows this to a service account; a resource is `plural[.group][/subresource]`."""
    kind, _, subresource = resource.partition("/")
    plural, _, group = kind.partition(".")
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": plural, "name": name or ""}
    review = {
        "user": f"system:serviceaccount:{':'.join(account)}",
        "resourceAttributes": {**attributes, "subresource": subresource},
    }
    answer = cluster.api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": review})
    return answer["status"]["allowed"] is True


def pod(rendering: Rendering, namespace: str, container: str = "operator") -> Manifest:
    """The pod that the Deployment's template describes."""
    template = copy.deepcopy(rendering.pod_template(container))
    metadata = {**template["metadata"], "name": "pod", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def changed(manifest: Manifest, path: tuple[str | int, ...], value: object) -> Manifest:
    """A copy with the value at `path` set, or removed."""
    copied = copy.deepcopy(manifest)
    node: Any = copied
    for step in path[:-1]:
        node = node[step]
    if value is REMOVED:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return copied
