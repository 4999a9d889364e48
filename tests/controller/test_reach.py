"""A namespace where our rights are gone, as with its deletion, keeps no other one waiting until they are back."""

from pathlib import Path

from deploy.local.cluster import Cluster
from tests.support.api_proxy import ApiProxy
from tests.support.kubelet import Kubelet
from tests.support.programs import eventually
from tests.support.stand import Stand

ACCOUNT = "the-operator"
ANYTHING_HERE = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"


def test_only_who_may_be_served_is_served_until_all_may(bench: Stand, cluster: Cluster, tmp_path: Path) -> None:
    other = f"{bench.namespace}-other"
    cluster.create_namespace(other)
    cluster.grant(bench.namespace, ACCOUNT, ANYTHING_HERE)
    token = tmp_path / "token"
    token.write_text(cluster.token(bench.namespace, ACCOUNT))
    stranger = f"/apis/models.rbee.dev/v1alpha1/namespaces/{other}/modeldownloads"
    cluster.api.create(stranger, {**bench.manifest("there", modelRef="hf:acme/tiny"), "metadata": {"name": "there"}})
    namespaces = [f"--watch-namespace={bench.namespace}", f"--watch-namespace={other}"]
    with ApiProxy(cluster) as proxy:
        config = proxy.kubeconfig(tmp_path / "config", {"tokenFile": str(token)})
        with Kubelet(bench, f"--kubeconfig={config}", *namespaces, module="tests.support.hasty") as kubelet:
            bench.apply("here", modelRef="hf:acme/tiny")
            bench.until("here", "Available")
            assert f"namespace {other} is not served" in bench.operator_output()
            assert kubelet.exits == []
            binding = cluster.api.get(f"{RBAC}/{bench.namespace}/rolebindings/{ACCOUNT}")
            role = cluster.api.get(f"{RBAC}/{bench.namespace}/roles/{ACCOUNT}")
            cluster.apply(
                [
                    {**one, "metadata": {"name": ACCOUNT, "namespace": other}, "kind": kind}
                    for one, kind in ((role, "Role"), (binding, "RoleBinding"))
                ]
            )
            served = eventually(lambda: cluster.api.get(f"{stranger}/there")["status"].get("conditions"), "it is seen")
            assert {one["reason"] for one in served} == {"ClaimNotMounted"}
            assert kubelet.exits == [0]
