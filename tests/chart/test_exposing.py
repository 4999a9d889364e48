"""How clients reach the gateway: its two modes, the Services, the Ingress and the route of the Gateway API."""

import re
from pathlib import Path

import pytest
import yaml

from deploy.local.api import ApiError
from deploy.local.cluster import Cluster
from tests.chart.installing import create
from tests.chart.rendering import ROOT, Helm, Manifest

OWN_PODS = 'gateway.mode="Deployment"'
INGRESS = ("ingress.enabled=true", 'ingress.hosts=["models.example.com","m.example.com"]')
ROUTE = (
    "httpRoute.enabled=true",
    'httpRoute.parentRefs=[{"name":"public","namespace":"gateways"}]',
    'httpRoute.hostnames=["models.example.com"]',
)
NAME = "model-provisioner"


def test_the_gateway_runs_in_pods_of_its_own(helm: Helm) -> None:
    beside, alone = helm.render(), helm.render(OWN_PODS, "gateway.replicas=3")
    assert alone.container("gateway")["args"] == beside.container("gateway")["args"]
    assert [one["name"] for one in alone.pod_template()["spec"]["containers"]] == ["operator"]
    assert not [one["name"] for one in alone.pod_template()["spec"]["volumes"] if "gateway" in one["name"]]
    assert alone.one("Deployment", f"{NAME}-gateway")["spec"]["replicas"] == 3


def test_those_pods_mount_neither_models_nor_the_operators_token(helm: Helm) -> None:
    spec = helm.render(OWN_PODS, 'caSecret.name="ca"').pod_template("gateway")["spec"]
    assert [volume["name"] for volume in spec["volumes"]] == ["gateway-tmp", "gateway-token"]
    assert (spec["serviceAccountName"], spec["automountServiceAccountToken"]) == (f"{NAME}-gateway", False)


@pytest.mark.parametrize("setting", ['gateway.mode="Sidecar"', OWN_PODS], ids=["sidecar", "own pods"])
def test_each_service_and_deployment_selects_the_right_pods_and_no_others(helm: Helm, setting: str) -> None:
    rendering = helm.render(setting, 'podLabels={"app.kubernetes.io/name":"x"}')
    labels = {name: rendering.pod_template(name)["metadata"]["labels"] for name in ("operator", "gateway")}
    selectors = {
        (NAME, "gateway"): rendering.one("Service", NAME)["spec"]["selector"],
        (f"{NAME}-metrics", "operator"): rendering.one("Service", f"{NAME}-metrics")["spec"]["selector"],
    }
    for one in rendering.kind("Deployment"):
        name = "gateway" if one["metadata"]["name"].endswith("-gateway") else "operator"
        selectors[f"deployment {name}", name] = one["spec"]["selector"]["matchLabels"]
    for (_, container), selector in selectors.items():
        chosen = {name for name, found in labels.items() if selector.items() <= found.items()}
        assert chosen == ({container} if setting == OWN_PODS else {"operator", "gateway"})


def test_a_pod_that_is_not_ready_gets_no_requests_if_the_gateway_is_alone_in_it(helm: Helm) -> None:
    assert helm.render().one("Service", NAME)["spec"]["publishNotReadyAddresses"] is True
    alone = helm.render(OWN_PODS).one("Service", NAME)["spec"]
    assert not {"publishNotReadyAddresses", "sessionAffinity"} & alone.keys()
    assert helm.render(OWN_PODS, "gateway.replicas=2").one("Service", NAME)["spec"]["sessionAffinity"] == "ClientIP"


def test_metrics_have_a_service(helm: Helm) -> None:
    rendering = helm.render()
    spec = rendering.one("Service", f"{NAME}-metrics")["spec"]
    assert (spec["clusterIP"], spec["ports"]) == ("None", [{"name": "metrics", "port": 8082, "targetPort": "metrics"}])
    assert [one["metadata"]["name"] for one in helm.render("metrics.enabled=false").kind("Service")] == [NAME]


def test_annotations_reach_the_service_the_ingress_and_the_route(helm: Helm) -> None:
    settings = (f'{one}.annotations={{"a":"1"}}' for one in ("service", "ingress", "httpRoute"))
    rendering = helm.render(*INGRESS, *ROUTE, *settings)
    annotated = [one["kind"] for one in rendering.manifests if one["metadata"].get("annotations") == {"a": "1"}]
    assert sorted(annotated) == ["HTTPRoute", "Ingress", "Service"]


def test_an_ingress_sends_each_name_to_the_service(helm: Helm) -> None:
    settings = ('ingress.className="nginx"', 'ingress.tlsSecretName="page"', 'gateway.basePath="/models"')
    (ingress,) = helm.render(*INGRESS, *settings).kind("Ingress")
    path = {
        "path": "/models",
        "pathType": "Prefix",
        "backend": {"service": {"name": NAME, "port": {"name": "http"}}},
    }
    names = ["models.example.com", "m.example.com"]
    assert ingress["spec"] == {
        "ingressClassName": "nginx",
        "rules": [{"host": host, "http": {"paths": [path]}} for host in names],
        "tls": [{"secretName": "page", "hosts": names}],
    }


def test_a_route_has_no_timeout_for_a_stream(helm: Helm) -> None:
    (route,) = helm.render(*ROUTE, "service.port=80").kind("HTTPRoute")
    (rule,) = route["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s"}
    assert rule["backendRefs"] == [{"name": NAME, "port": 80}]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]
    (route,) = helm.render(*ROUTE, "httpRoute.timeouts=null").kind("HTTPRoute")
    assert "timeouts" not in route["spec"]["rules"][0]


def test_the_names_of_both_are_names_of_the_gateway(helm: Helm) -> None:
    args = helm.render(*INGRESS, *ROUTE, 'gateway.auth="none"').container("gateway")["args"]
    assert [args.count(f"--allowed-host={host}") for host in ("models.example.com", "m.example.com")] == [1, 1]
    args = helm.render(INGRESS[1], ROUTE[2], 'gateway.auth="none"').container("gateway")["args"]
    assert "--allowed-host=models.example.com" not in args


def test_both_are_off_by_default_and_without_a_gateway(helm: Helm) -> None:
    for rendering in (helm.render(), helm.render(*INGRESS, *ROUTE, "gateway.enabled=false")):
        assert rendering.kind("Ingress") == rendering.kind("HTTPRoute") == []


def documented() -> list[Manifest]:
    text = (ROOT / "docs" / "http-api.md").read_text()
    found = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]
    return [values for values in found if {"ingress", "httpRoute"} & values.keys()]


@pytest.mark.parametrize("values", documented(), ids=[str(one)[:60] for one in documented()])
def test_the_documented_values_give_objects_that_the_server_accepts(
    helm: Helm, foreign: Cluster, namespace: str, tmp_path: Path, values: Manifest
) -> None:
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    rendered = helm.run("template", NAME, ".", "-n", namespace, "-f", str(tmp_path / "values.yaml"))
    (exposing,) = [one for one in yaml.safe_load_all(rendered) if one and one["kind"] in {"Ingress", "HTTPRoute"}]
    assert create(foreign.api, exposing)["metadata"]["name"] == NAME


def test_a_route_with_a_field_that_the_gateway_api_does_not_have_would_be_refused(
    helm: Helm, foreign: Cluster, namespace: str
) -> None:
    (route,) = helm.render(*ROUTE, namespace=namespace).kind("HTTPRoute")
    route["spec"]["rules"][0]["timeouts"]["idle"] = "0s"
    with pytest.raises(ApiError, match="idle"):
        create(foreign.api, route)
