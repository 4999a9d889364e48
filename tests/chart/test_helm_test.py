"""The Pod of `helm test`: what it asks, and that this is what a working gateway or operator answers."""

import argparse
from pathlib import Path

import pytest

from deploy.local.api import ApiError
from deploy.local.cluster import Cluster
from model_provisioner.check import command
from model_provisioner.gateway.board import Board
from model_provisioner.settings.check import CheckSettings
from tests.chart.installing import create
from tests.chart.rendering import Helm, Rendering
from tests.gateway.test_serving import gateway
from tests.test_alerts import Pod


def asked(rendering: Rendering) -> CheckSettings:
    """What the program makes of the Pod's arguments."""
    (pod,) = rendering.kind("Pod")
    (container,) = pod["spec"]["containers"]
    name, *arguments = container["args"]
    assert name == "check"
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return CheckSettings(**vars(parser.parse_args(arguments)))


async def test_it_asks_the_gateway_whether_an_operator_renews_its_lease(helm: Helm, tmp_path: Path) -> None:
    settings = asked(helm.render('gateway.basePath="/models"', "service.port=80"))
    assert settings.url == "http://model-provisioner.ai.svc:80/metrics"
    (text,) = settings.contains
    board = Board()
    board.set_stale(stale=True)
    async with gateway(tmp_path, board) as (client, _):
        assert text not in (await (await client.get("/metrics")).text()).splitlines()
        board.set_stale(stale=False)
        assert text in (await (await client.get("/metrics")).text()).splitlines()


def test_without_a_gateway_it_asks_the_operator(helm: Helm) -> None:
    settings = asked(helm.render("gateway.enabled=false"))
    assert settings.url == "http://model-provisioner-metrics.ai.svc:8082/metrics"
    (text,) = settings.contains
    assert text in (Pod().page() or "").splitlines()
    assert text not in (Pod(acting=False).page() or "").splitlines()


def test_a_gateway_with_a_certificate_is_asked_by_https(helm: Helm) -> None:
    settings = asked(helm.render('gateway.tlsSecretName="page"'))
    assert (settings.url.partition(":")[0], settings.insecure) == ("https", True)
    assert not asked(helm.render()).insecure


def test_with_nothing_to_ask_there_is_no_pod(helm: Helm) -> None:
    assert helm.render("gateway.enabled=false", "metrics.enabled=false").kind("Pod") == []


def test_it_runs_where_pod_security_is_restricted(helm: Helm, cluster: Cluster, namespace: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.api.merge(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": labels}})
    (pod,) = helm.render(namespace=namespace).kind("Pod")
    assert create(cluster.api, pod, dry_run=True)["spec"]["automountServiceAccountToken"] is False
    pod["spec"]["securityContext"]["runAsNonRoot"] = False
    with pytest.raises(ApiError, match="violates PodSecurity"):
        create(cluster.api, pod, dry_run=True)


def test_no_service_selects_it(helm: Helm) -> None:
    rendering = helm.render('podLabels={"app.kubernetes.io/name":"model-provisioner"}')
    (pod,) = rendering.kind("Pod")
    labels = pod["metadata"]["labels"]
    chosen = [one for one in rendering.kind("Service") if one["spec"]["selector"].items() <= labels.items()]
    assert chosen == []
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
