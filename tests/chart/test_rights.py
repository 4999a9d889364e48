"""The rights of each service account and of users after an install.

The operator's and the gateway's Roles are the least they need, and what users get reaches no other resource.
"""

import json

import pytest

from model_provisioner.domain.engines.engines import ENGINES
from tests.chart.rendering import NAMESPACE, Helm, Manifest, Rendering

Rule = tuple[str, tuple[str, ...], tuple[str, ...]]
"""Resource with its API group, the names that the rule is limited to, verbs."""

MODELS = "modeldownloads.models.rbee.dev"
LEASES = "leases.coordination.k8s.io"

OPERATOR: list[Rule] = [
    (MODELS, (), ("get", "list", "watch", "patch")),
    ("modeldownloads/status.models.rbee.dev", (), ("patch",)),
    ("events", (), ("create", "get", "patch")),
    ("configmaps", ("model-catalog",), ("create", "get", "list", "patch", "watch")),
    ("configmaps", tuple(engine.config_map_name for engine in ENGINES.values()), ("get", "delete")),
    ("secrets", (), ("get",)),
]

ROLES: list[tuple[str, list[Rule]]] = [
    ("model-provisioner", OPERATOR),
    (
        "model-provisioner-lease",
        [(LEASES, (), ("create",)), (LEASES, ("model-provisioner",), ("get", "patch")), ("pods", (), ("get",))],
    ),
    ("model-provisioner-gateway", [(MODELS, (), ("list", "watch"))]),
    (
        "model-provisioner-uninstall",
        [
            (MODELS, (), ("list", "patch")),
            ("deployments/scale.apps", ("model-provisioner",), ("patch",)),
            ("pods", (), ("get", "list")),
            (LEASES, (), ("create",)),
            (LEASES, ("model-provisioner",), ("get", "patch")),
        ],
    ),
    ("model-provisioner-gateway-lease", [(LEASES, ("model-provisioner",), ("get",))]),
]

CLUSTER_ROLES: list[tuple[str, set[str], list[Rule]]] = [
    ("ai-model-provisioner-view", {"view", "edit", "admin"}, [(MODELS, (), ("get", "list", "watch"))]),
    (
        "ai-model-provisioner-edit",
        {"edit", "admin"},
        [(MODELS, (), ("create", "update", "patch", "delete", "deletecollection"))],
    ),
]


@pytest.mark.parametrize(("name", "rules"), ROLES, ids=[row[0] for row in ROLES])
def test_a_role_grants_exactly_this(helm: Helm, name: str, rules: list[Rule]) -> None:
    assert granted(helm.render().one("Role", name)) == rules


@pytest.mark.parametrize("on", [["localai"], ["llama-swap", "llama-cpp"], list(ENGINES)], ids=",".join)
def test_the_config_maps_of_engines_are_written_or_deleted(helm: Helm, on: list[str]) -> None:
    role = helm.render(f"catalog.engines={json.dumps(on)}").one("Role", "model-provisioner")
    by_verbs = {verbs: names for resource, names, verbs in granted(role) if resource == "configmaps"}
    written = {"model-catalog", *(engine.config_map_name for engine in ENGINES.values() if engine.name in on)}
    deleted = {engine.config_map_name for engine in ENGINES.values() if engine.name not in on}
    assert set(by_verbs["create", "get", "list", "patch", "watch"]) == written
    assert set(by_verbs.get(("get", "delete"), ())) == deleted


def test_worker_pods_add_what_starts_and_watches_them(helm: Helm) -> None:
    rendering = helm.render("workers.enabled=true")
    added = granted(rendering.one("Role", "model-provisioner"))[len(OPERATOR) :]
    assert added == [
        ("jobs.batch", (), ("create", "delete", "get", "list")),
        ("secrets", (), ("create",)),
        ("persistentvolumeclaims", (), ("get", "list", "watch")),
        ("pods", (), ("list",)),
        ("events", (), ("list",)),
    ]
    at_home = granted(rendering.one("Role", "model-provisioner-lease"))
    assert at_home[-1] == ("secrets", ("model-provisioner-workers-ca",), ("patch",))


def test_with_a_certificate_of_the_administrator_no_secret_is_changed(helm: Helm) -> None:
    rendering = helm.render("workers.enabled=true", 'workers.tlsSecretName="door"')
    at_home = granted(rendering.one("Role", "model-provisioner-lease"))
    assert not [right for right in at_home if right[0] == "secrets"]


def test_the_gateway_may_write_only_where_everybody_may(helm: Helm) -> None:
    rendering = helm.render('gateway.auth="none"', "gateway.anonymousWrites=true")
    writing = ("list", "watch", "get", "create", "patch", "delete")
    assert granted(rendering.one("Role", "model-provisioner-gateway")) == [(MODELS, (), writing)]


def test_there_are_no_other_roles(helm: Helm) -> None:
    assert {role["metadata"]["name"] for role in helm.render().kind("Role")} == {name for name, _ in ROLES}


def test_with_gates_the_operator_may_patch_pods_and_create_models(helm: Helm) -> None:
    rendering = helm.render("gates.enabled=true", 'watchNamespaces=["ml"]', 'persistence.existingClaim="shared"')
    roles = [role for role in rendering.kind("Role") if role["metadata"]["name"] == "model-provisioner"]
    added = {role["metadata"]["namespace"]: granted(role)[len(OPERATOR) :] for role in roles}
    pods: Rule = ("pods", (), ("list", "watch", "patch"))
    creation: Rule = (MODELS, (), ("create",))
    assert added == {"ai": [pods, creation, ("persistentvolumeclaims", ("shared",), ("get",))], "ml": [pods, creation]}
    assert all(granted(role)[: len(OPERATOR)] == OPERATOR for role in roles)


def test_without_creation_it_may_create_none(helm: Helm) -> None:
    rules = granted(helm.render("gates.enabled=true", "gates.createModels=false").one("Role", "model-provisioner"))
    assert rules[len(OPERATOR) :] == [
        ("pods", (), ("list", "watch", "patch")),
        ("persistentvolumeclaims", ("models",), ("get",)),
    ]


@pytest.mark.parametrize(("name", "into", "rules"), CLUSTER_ROLES, ids=[row[0] for row in CLUSTER_ROLES])
def test_a_cluster_role_is_aggregated_to_the_users_roles(
    helm: Helm, name: str, into: set[str], rules: list[Rule]
) -> None:
    role = helm.render().one("ClusterRole", name)
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {key.removeprefix(prefix) for key in role["metadata"]["labels"] if key.startswith(prefix)} == into
    assert granted(role) == rules


def test_nobody_gets_rights_in_the_whole_cluster(helm: Helm) -> None:
    rendering = helm.render('watchNamespaces=["ml"]')
    assert rendering.kind("ClusterRoleBinding") == []
    assert {resource for role in rendering.kind("ClusterRole") for resource, _, _ in granted(role)} == {MODELS}
    assert helm.render("rbac.aggregateToDefaultRoles=false").kind("ClusterRole") == []


EVERYWHERE = 'watchNamespaces=["*"]'
FOR_ALL: list[tuple[str, list[Rule]]] = [
    ("model-provisioner", OPERATOR),
    ("model-provisioner-gateway", [(MODELS, (), ("list", "watch"))]),
    ("model-provisioner-uninstall", [(MODELS, (), ("list", "patch"))]),
]


def test_rights_in_the_whole_cluster_are_those_of_a_served_namespace(helm: Helm) -> None:
    rendering = helm.render(EVERYWHERE, "rbac.aggregateToDefaultRoles=false")
    roles = {role["metadata"]["name"]: granted(role) for role in rendering.kind("ClusterRole")}
    assert roles == {f"ai-{name}": rules for name, rules in FOR_ALL}
    bindings = rendering.kind("ClusterRoleBinding")
    assert {binding["metadata"]["name"] for binding in bindings} == roles.keys()
    for binding in bindings:
        name = binding["metadata"]["name"]
        assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
        account = {"kind": "ServiceAccount", "name": name.removeprefix("ai-"), "namespace": NAMESPACE}
        assert binding["subjects"] == [account]


def test_what_is_in_no_served_namespace_stays_at_home(helm: Helm) -> None:
    rendering = helm.render(EVERYWHERE)
    at_home = {role["metadata"]["name"]: granted(role) for role in rendering.kind("Role")}
    of_each = dict(ROLES)
    assert at_home == {
        "model-provisioner-lease": of_each["model-provisioner-lease"],
        "model-provisioner-gateway-lease": of_each["model-provisioner-gateway-lease"],
        "model-provisioner-uninstall": of_each["model-provisioner-uninstall"][1:],
    }
    assert {role["metadata"]["namespace"] for role in rendering.kind("Role")} == {NAMESPACE}
    assert {one["metadata"]["name"] for one in rendering.kind("RoleBinding")} == at_home.keys()


def test_without_the_job_of_uninstall_there_is_no_right_for_it(helm: Helm) -> None:
    rendering = helm.render(EVERYWHERE, "uninstall.releaseObjects=false", "gateway.enabled=false")
    bound = {one["metadata"]["name"] for one in rendering.kind("ClusterRoleBinding")}
    assert bound == {"ai-model-provisioner"}


def test_each_watched_namespace_gets_the_roles_and_the_lease_stays_at_home(helm: Helm) -> None:
    rendering = helm.render('watchNamespaces=["ml","ai","vision"]')
    assert (
        homes(rendering, "model-provisioner") == homes(rendering, "model-provisioner-gateway") == ["ai", "ml", "vision"]
    )
    assert homes(rendering, "model-provisioner-uninstall") == ["ai", "ml", "vision"]
    assert homes(rendering, "model-provisioner-lease") == homes(rendering, "model-provisioner-gateway-lease") == ["ai"]


def test_the_uninstall_job_may_touch_objects_only_in_other_namespaces(helm: Helm) -> None:
    roles = helm.render('watchNamespaces=["ml"]').kind("Role")
    (there,) = [role for role in roles if role["metadata"]["name"].endswith("-uninstall") and is_in(role, "ml")]
    assert granted(there) == [(MODELS, (), ("list", "patch"))]


def test_every_role_is_bound_to_the_account_that_needs_it(helm: Helm) -> None:
    for binding in helm.render('watchNamespaces=["ml"]').kind("RoleBinding"):
        name = binding["metadata"]["name"]
        account = name.removesuffix("-lease")
        assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]


def is_in(manifest: Manifest, namespace: str) -> bool:
    return bool(manifest["metadata"]["namespace"] == namespace)


def homes(rendering: Rendering, name: str) -> list[str]:
    return [role["metadata"]["namespace"] for role in rendering.kind("Role") if role["metadata"]["name"] == name]


def granted(role: Manifest) -> list[Rule]:
    return [
        (
            ".".join(part for part in (resource, group) if part),
            tuple(rule.get("resourceNames", ())),
            tuple(rule["verbs"]),
        )
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    ]
