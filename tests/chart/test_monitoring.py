"""The PodMonitor, the alerts and the dashboard that the chart creates for Prometheus and Grafana."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.cluster import Cluster
from tests.chart.installing import create
from tests.chart.rendering import ROOT, Helm, Manifest, Rendering
from tests.support.promtool import promtool
from tests.test_metrics_page import rules_of_the_chart

ON = ("metrics.podMonitor.enabled=true", "metrics.prometheusRule.enabled=true", "metrics.dashboard.enabled=true")
KINDS = ("PodMonitor", "PrometheusRule", "ConfigMap")
NAME = "model-provisioner"


def test_they_are_off_by_default(helm: Helm) -> None:
    assert [one for kind in KINDS for one in helm.render().kind(kind)] == []


def test_the_api_server_accepts_them(helm: Helm, foreign: Cluster, namespace: str) -> None:
    settings = ('gateway.tlsSecretName="page"', 'metrics.podMonitor.interval="30s"')
    rendering = helm.render(*ON, *settings, namespace=namespace)
    stored = [create(foreign.api, one) for kind in KINDS for one in rendering.kind(kind)]
    assert [one["kind"] for one in stored] == [*KINDS]


MODES = ['gateway.mode="Sidecar"', 'gateway.mode="Deployment"']


@pytest.mark.parametrize("mode", MODES, ids=["sidecar", "own pods"])
def test_the_pod_monitor_finds_the_pods_and_their_ports(helm: Helm, mode: str) -> None:
    rendering = helm.render(*ON, mode)
    selector = rendering.one("PodMonitor", NAME)["spec"]["selector"]
    (expression,) = selector["matchExpressions"]
    found = set()
    for deployment in rendering.kind("Deployment"):
        template = deployment["spec"]["template"]
        labels = template["metadata"]["labels"]
        assert selector["matchLabels"].items() <= labels.items()
        assert labels[expression["key"]] in expression["values"]
        found |= {port["name"] for one in template["spec"]["containers"] for port in one["ports"]}
    assert {one["port"] for one in endpoints(rendering)} == found - {"health"}
    assert all(one["honorLabels"] for one in endpoints(rendering))


def test_a_gateway_with_tls_is_scraped_by_its_address(helm: Helm) -> None:
    scraped = {one["port"]: one for one in endpoints(helm.render(*ON, 'gateway.tlsSecretName="page"'))}
    assert scraped["http"]["scheme"] == "https"
    assert scraped["http"]["tlsConfig"] == {"insecureSkipVerify": True}
    assert "scheme" not in scraped["metrics"]


LEFT = [
    ("metrics.enabled=false", {"http"}),
    ("gateway.enabled=false", {"metrics"}),
]


@pytest.mark.parametrize(("setting", "ports"), LEFT, ids=[row[0] for row in LEFT])
def test_what_does_not_run_is_not_scraped(helm: Helm, setting: str, ports: set[str]) -> None:
    assert {one["port"] for one in endpoints(helm.render(*ON, setting))} == ports


def test_without_metrics_there_is_no_alert_about_their_absence(helm: Helm) -> None:
    assert helm.render(*ON, "metrics.enabled=false").kind("PrometheusRule") == []
    neither = helm.render(*ON, "metrics.enabled=false", "gateway.enabled=false")
    assert neither.kind("PodMonitor") == []


def test_the_rules_are_those_of_the_file_with_an_address_of_a_runbook(helm: Helm, tmp_path: Path) -> None:
    rendered = helm.render(*ON).one("PrometheusRule", NAME)["spec"]
    links = [alert["annotations"].pop("runbook_url") for alert in alerts(rendered)]
    assert rendered == rules_of_the_chart()
    home = yaml.safe_load((ROOT / "Chart.yaml").read_text())["home"]
    assert links == [f"{home}/blob/main/docs/runbooks.md#{alert['alert'].lower()}" for alert in alerts(rendered)]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rendered))
    promtool("check", "rules", str(tmp_path / "rules.yaml"))


def test_the_runbooks_may_be_elsewhere(helm: Helm) -> None:
    rendering = helm.render(*ON, 'metrics.prometheusRule.runbookUrl="https://wiki.example/models"')
    links = [alert["annotations"]["runbook_url"] for alert in alerts(rendering.one("PrometheusRule", NAME)["spec"])]
    assert "https://wiki.example/models#modelvolumefillsup" in links


def test_labels_select_each_and_do_not_replace_the_charts_own(helm: Helm) -> None:
    labels = '{"release":"kps","app.kubernetes.io/name":"x"}'
    settings = (f"metrics.{one}.labels={labels}" for one in ("podMonitor", "prometheusRule", "dashboard"))
    rendering = helm.render(*ON, *settings)
    for kind in KINDS:
        ((found),) = [one["metadata"]["labels"] for one in rendering.kind(kind)]
        assert (found["release"], found["app.kubernetes.io/name"]) == ("kps", NAME)


def test_grafanas_sidecar_finds_the_dashboard_as_it_is_in_the_file(helm: Helm) -> None:
    rendering = helm.render(*ON, 'metrics.dashboard.annotations={"grafana_folder":"Models"}')
    config_map = rendering.one("ConfigMap", f"{NAME}-dashboard")
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config_map["metadata"]["annotations"] == {"grafana_folder": "Models"}
    assert [json.loads(text) for text in config_map["data"].values()] == [
        json.loads((ROOT / "files" / "dashboard.json").read_text())
    ]


def endpoints(rendering: Rendering) -> list[Manifest]:
    found: list[Manifest] = rendering.one("PodMonitor", NAME)["spec"]["podMetricsEndpoints"]
    return found


def alerts(rules: Manifest) -> Iterator[dict[str, Any]]:
    return (rule for group in rules["groups"] for rule in group["rules"])
