"""A namespace that refuses us, as after its deletion, does not keep the other ones waiting."""

import asyncio
import os
from pathlib import Path
from typing import Any, cast

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.controller.process.namespaces import exit_when_served, served_namespaces
from model_provisioner.kube.client import ApiError, KubeApi
from tests.support.api_proxy import ApiProxy
from tests.support.kubelet import Kubelet
from tests.support.programs import eventually
from tests.support.stand import Stand

ACCOUNT = "the-operator"
KOPF_GAVE_UP = 1
ANYTHING_HERE = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"


def test_a_namespace_that_refuses_us_is_left_out_until_it_allows_us(
    bench: Stand, cluster: Cluster, tmp_path: Path
) -> None:
    cluster.grant(bench.namespace, ACCOUNT, ANYTHING_HERE)
    token = tmp_path / "token"
    token.write_text(cluster.token(bench.namespace, ACCOUNT))
    with bench.neighbour(f"{bench.namespace}-other") as other, ApiProxy(cluster) as proxy:
        other.apply("there", modelRef="hf:acme/tiny")
        config = proxy.kubeconfig(tmp_path / "config", {"tokenFile": str(token)})
        namespaces = [f"--watch-namespace={one.namespace}" for one in (bench, other)]
        with Kubelet(bench, f"--kubeconfig={config}", *namespaces, module="tests.support.hasty") as kubelet:
            bench.apply("here", modelRef="hf:acme/tiny")
            bench.until("here", "Available")
            assert f"namespace {other.namespace} is not served" in bench.operator_output()
            assert other.ready("there") == {}
            assert kubelet.exits == []
            binding = cluster.api.get(f"{RBAC}/{bench.namespace}/rolebindings/{ACCOUNT}")
            role = cluster.api.get(f"{RBAC}/{bench.namespace}/roles/{ACCOUNT}")
            cluster.apply(
                [
                    {**one, "metadata": {"name": ACCOUNT, "namespace": other.namespace}, "kind": kind}
                    for one, kind in ((role, "Role"), (binding, "RoleBinding"))
                ]
            )
            other.until("there", "ClaimNotMounted")
            assert kubelet.exits == [0]

            for kind in ("roles", "rolebindings"):
                cluster.api.delete(f"{RBAC}/{other.namespace}/{kind}/{ACCOUNT}")
            proxy.cut()
            eventually(lambda: kubelet.exits == [0, KOPF_GAVE_UP], "it ends because it is refused, and is started anew")
            bench.apply("later", modelRef="hf:acme/tiny:Q8_0")
            bench.until("later", "Available")
            assert bench.ready("here")["status"] == "True"
            assert kubelet.exits == [0, KOPF_GAVE_UP], "once"


REFUSED, UNKNOWN = ApiError(403, "Forbidden", "may not"), ApiError(500, "InternalError", "a hiccup", 7)


class Api:
    """An API server that answers requests for each namespace as `script` says, and then always with success."""

    def __init__(self, **script: list[ApiError | None]) -> None:
        self.script = script
        self.pauses: list[float] = []

    async def get(self, path: str, _query: dict[str, str]) -> dict[str, Any]:
        answers = self.script.get(path.split("/")[5], [])
        if answers and (error := answers.pop(0)):
            raise error
        return {}

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)


async def test_an_api_server_that_can_not_tell_is_asked_again() -> None:
    api = Api(gone=[UNKNOWN, ApiError(0, "Unreachable", "no answer"), REFUSED], there=[UNKNOWN])
    assert await served_namespaces(cast("KubeApi", api), ["there", "gone"], api.sleep) == ["there"]
    assert api.pauses == [7, 7, 2]


async def test_a_refusal_by_all_namespaces_is_raised() -> None:
    api = Api(gone=[REFUSED], also=[REFUSED])
    with pytest.raises(ApiError, match="may not"):
        await served_namespaces(cast("KubeApi", api), ["gone", "also"], api.sleep)


async def test_an_error_of_the_api_server_does_not_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _pid, number: ended.append(number))
    api = Api(gone=[UNKNOWN, REFUSED, UNKNOWN, None])

    async def sleep(seconds: float) -> None:
        assert not ended
        await api.sleep(seconds)

    await exit_when_served(cast("KubeApi", api), ["gone"], sleep)
    assert (len(ended), api.pauses) == (1, [60, 7, 60, 7])
