"""The values: the schema allows no others, each has a description, and each is read by a template."""

import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
import yaml

from tests.chart.rendering import ROOT, Helm, HelmError, Manifest, schema

REFUSED = [
    ("replicaz=2", "replicaz"),
    ('image.repo="x"', "repo"),
    ('image.pullPolicy="Sometimes"', "pullPolicy"),
    ('image.digest="sha256:12"', "digest"),
    ('watchNamespaces=["Not_A_Name"]', "watchNamespaces"),
    ('watchNamespaces="ml"', "watchNamespaces"),
    ('watchNamespaces=["*","ml"]', "stands alone"),
    ('watchNamespaces=["team-*"]', "watchNamespaces"),
    ("replicas=0", "replicas"),
    ("replicas=6", "replicas"),
    ("replicas=2", "replicas is 2, and the claim that the chart creates is ReadWriteOnce: only with ReadWriteMany"),
    ('topologySpreadConstraints=[{"maxSkew":1}]', "topologyKey"),
    ("slots=0", "slots"),
    ('maxBytesPerSecond="fast"', "maxBytesPerSecond"),
    ('slots="many"', "slots"),
    ('endpoints.hf="ftp://hub.example"', "endpoints/hf"),
    ('endpoints.hf="https://user@hub.example"', "endpoints/hf"),
    ('allowedEndpoints=["hub.example"]', "allowedEndpoints"),
    ('allowedEndpoints=["https://user@hub.example"]', "allowedEndpoints"),
    ('allowedHosts=["https://hub.example"]', "allowedHosts"),
    ('allowedNetworks=["10.0.0.1"]', "allowedNetworks"),
    ('allowedHosts=["*"]', "allowedHosts"),
    ('ambientCredentials="yes"', "ambientCredentials"),
    ('ambientCredentials=["Not_A_Bucket"]', "ambientCredentials"),
    ('catalog.mountPath="models"', "mountPath"),
    ('gates.enabled="yes"', "enabled"),
    ("gates.createModel=true", "createModel"),
    ('caSecret.key=""', "caSecret"),
    ('proxy="proxy.example:3128"', "proxy"),
    ('proxy="http://user:password@proxy.example:3128"', "proxy"),
    ('proxySecret.key=""', "proxySecret"),
    ("workers.max=0", "workers"),
    ("workers.replicas=2", "workers"),
    ("workers.podSecurity.runAsUser=0", "runAsUser"),
    ("workers.podSecurity.runAsNonRoot=false", "runAsNonRoot"),
    ('workers.podLabels={"app.kubernetes.io/name":"x"}', "podLabels"),
    ('workers.podAnnotations={"models.rbee.dev/use":"x"}', "podAnnotations"),
    ('workers.serviceAccountName="Team A"', "serviceAccountName"),
    ('workers.tlsSecretName="Door"', "tlsSecretName"),
    ("responseTimeout=0", "responseTimeout"),
    ("responseTimeout=3601", "responseTimeout"),
    ('responseTimeout="90s"', "responseTimeout"),
    ('noProxy=".svc"', "noProxy"),
    ('noProxy=["http://hub.example"]', "noProxy"),
    ('noProxy=[".svc,10.0.0.0/8"]', "noProxy"),
    ('noProxy=["10.*"]', "noProxy"),
    ('proxy="http://proxy.example:3128"', "a proxy hides which addresses"),
    ('proxySecret.name="proxy"', "a proxy hides which addresses"),
    ('persistence.accessModes=["ReadOnlyMany"]', "accessModes"),
    ("persistence.accessModes=[]", "accessModes"),
    ('persistence.fileMode="rw"', "fileMode"),
    ("persistence.directoryMode=755", "directoryMode"),
    ('persistence.size="much"', "size"),
    ("persistence=null", "persistence"),
    ('gates.enabled="yes"', "gates"),
    ("injection.enabled=true", "injection.enabled needs gates.enabled"),
    ('injection.failurePolicy="Retry"', "failurePolicy"),
    ("injection.failPolicy=1", "failPolicy"),
    ('catalog.mountPath="models"', "mountPath"),
    ('catalog.mountPath="/models/.."', "mountPath"),
    ('catalog.engines=["ollama"]', "engines"),
    ('catalog.mountPath="/a/../b"', "mountPath"),
    ('catalog.mountPath="/a b"', "mountPath"),
    ('gateway.auth="maybe"', "auth"),
    ("gateway.anonymousWrites=true", "gateway.auth=none"),
    ('gateway.allowedHosts=["https://a.example"]', "allowedHosts"),
    ('gateway.basePath="/models/"', "basePath"),
    ('gateway.corsOrigins=["*"]', "corsOrigins"),
    ('gateway.tlsSecretName="a/b"', "tlsSecretName"),
    ("gateway.maxStreams=0", "maxStreams"),
    ("gateway.maxStreamsPerIdentity=0", "maxStreamsPerIdentity"),
    ("gateway.resources.limits.gpus=1", "gpus"),
    ('metrics.enabled="yes"', "enabled"),
    ('metrics.podMonitor.interval="often"', "interval"),
    ('metrics.prometheusRule.runbookUrl="docs/runbooks.md"', "runbookUrl"),
    ('service.type="ExternalName"', "type"),
    ("service.port=70000", "port"),
    ('uninstall.releaseObjects="yes"', "releaseObjects"),
    ("uninstall.hooks=false", "hooks"),
    ('gateway.mode="DaemonSet"', "mode"),
    ("gateway.replicas=0", "replicas"),
    ("ingress.enabled=true", "ingress.hosts is empty"),
    ('ingress.hosts=["https://a.example"]', "hosts"),
    ("httpRoute.enabled=true", "httpRoute.parentRefs is empty"),
    ('httpRoute.timeouts.request="forever"', "timeouts"),
    ('networkPolicy.apiServer.networks=["10.0.0.1"]', "networks"),
    ('networkPolicy.gateway.from=[{"pods":{}}]', "from"),
    ("networkPolicy.sources.ports=[0]", "ports"),
    ("podSecurity.runAsUser=0", "runAsUser"),
    ("podAnnotations.a=1", "podAnnotations"),
    ('extraEnv=[{"key":"A"}]', "extraEnv"),
    ('extraVolumeMounts=[{"name":"a"}]', "extraVolumeMounts"),
    ('extraObjects=[{"kind":"Pod"}]', "extraObjects"),
    ('tolerations=[{"keys":"gpu"}]', "tolerations"),
    ("affinity.hostAffinity={}", "affinity"),
]


@pytest.mark.parametrize(("setting", "named"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_wrong_value_is_refused_by_name(helm: Helm, setting: str, named: str) -> None:
    with pytest.raises(HelmError, match=named):
        helm.template(setting)


def test_every_object_of_the_schema_is_closed() -> None:
    open_objects = [
        path for path, node in nodes(schema(), "") if "properties" in node and node.get("additionalProperties", True)
    ]
    assert open_objects == []


def test_every_value_is_explained_above_it() -> None:
    lines = (ROOT / "values.yaml").read_text().splitlines()
    unexplained = [line for before, line in pairwise(lines) if is_value(line) and not before.strip().startswith("#")]
    assert unexplained == []


NESTED = (
    "caSecret",
    "crds",
    "gateway",
    "httpRoute",
    "ingress",
    "injection",
    "metrics",
    "networkPolicy",
    "podSecurity",
    "proxySecret",
    "rbac",
    "service",
    "uninstall",
)


def test_every_value_is_read_by_a_template_and_every_read_value_exists() -> None:
    templates = "".join(path.read_text() for path in (ROOT / "templates").rglob("*.*"))
    defaults = yaml.safe_load((ROOT / "values.yaml").read_text())
    names = set(re.findall(r"\.Values\.(\w+)", templates))
    assert names == defaults.keys() == schema()["properties"].keys() - {"global"}
    nested = {
        f"{name}.{key}"
        for name in (
            "caSecret",
            "gateway",
            "injection",
            "metrics",
            "networkPolicy",
            "podSecurity",
            "proxySecret",
            "rbac",
            "service",
            "uninstall",
        )
        for key in defaults[name]
    }
    assert nested == set(
        re.findall(
            r"\.Values\.((?:caSecret|gateway|injection|metrics|networkPolicy|podSecurity|proxySecret|rbac|service|uninstall)\.\w+)",
            templates,
        )
    )


def is_value(line: str) -> bool:
    return re.match(r"\s*(?!requests|limits)\w+:", line) is not None


def nodes(node: object, path: str) -> Iterator[tuple[str, Manifest]]:
    """Every object of a JSON document with its path."""
    if isinstance(node, dict):
        yield path, node
    for key, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from nodes(child, f"{path}/{key}")
