"""`helm install` and `upgrade` on a real API server: the objects that they leave, and Helm's notes."""

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.local.cluster import Cluster
from tests.chart.installing import create, path_of
from tests.chart.rendering import ROOT, Helm

RELEASE = "model-provisioner"
INSTALLING = (ROOT / "docs" / "install.md").read_text()


@pytest.fixture
def printed(helm: Helm, cluster: Cluster, namespace: str) -> Iterator[str]:
    """The notes that Helm prints after it has installed a release in `namespace`."""
    place = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig))
    yield helm.run("install", RELEASE, ".", *place)
    helm.run("uninstall", RELEASE, *place, "--ignore-not-found", "--no-hooks")


def test_the_notes_give_a_manifest_that_the_server_accepts(cluster: Cluster, namespace: str, printed: str) -> None:
    written = re.search(r"<<'EOF'\n(.*?)\nEOF\n", printed, re.DOTALL)
    assert written, printed
    manifest = yaml.safe_load(written[1])
    manifest["metadata"]["namespace"] = namespace
    assert create(cluster.api, manifest, dry_run=True)["spec"]["modelRef"].startswith("hf:")


def test_the_notes_name_the_claim_the_service_and_its_port(namespace: str, printed: str) -> None:
    assert f"the claim `models` of namespace {namespace}" in printed
    assert f"port-forward -n {namespace} service/model-provisioner 8081:8081" in printed


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ((), ["rolebinding", "--clusterrole=view", "create token", "port-forward"]),
        (
            ("rbac.aggregateToDefaultRoles=false",),
            ["create role ", "rolebinding", "--role=", "create token", "port-forward"],
        ),
        (("gateway.auth=none",), ["port-forward"]),
        (("gateway.enabled=false",), []),
    ],
)
def test_the_notes_lead_to_a_token_that_may_look_before_the_port_forward_that_blocks(
    helm: Helm, cluster: Cluster, namespace: str, settings: tuple[str, ...], wanted: list[str]
) -> None:
    flags = [part for setting in settings for part in ("--set", setting)]
    place = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig))
    printed = helm.run("install", RELEASE, ".", *place, "--dry-run=server", *flags).partition("\nNOTES:\n")[2]
    words = ["rolebinding", "--clusterrole=view", "create role ", "--role=", "create token", "port-forward"]
    found = sorted((printed.index(word), word) for word in words if word in printed)
    assert [word for _, word in found] == wanted


@pytest.mark.parametrize(
    ("settings", "annotations"),
    [
        ((), []),
        (("gates.enabled=true",), ["models.rbee.dev/models: tinyllama"]),
        (("gates.enabled=true", "injection.enabled=true"), ["models.rbee.dev/use: tinyllama"]),
    ],
)
def test_the_notes_say_how_a_pod_gets_the_model(
    helm: Helm, cluster: Cluster, namespace: str, settings: tuple[str, ...], annotations: list[str]
) -> None:
    flags = [part for setting in settings for part in ("--set", setting)]
    place = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig), "--dry-run=server")
    printed = helm.run("install", RELEASE, ".", *place, *flags).partition("\nNOTES:\n")[2]
    assert re.findall(r"^models\.rbee\.dev/.*$", printed, re.MULTILINE) == annotations


def test_the_notes_name_the_page_of_an_ingress(helm: Helm, cluster: Cluster, namespace: str) -> None:
    place = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig), "--dry-run=server")
    values = ("ingress.enabled=true", "ingress.hosts={a.example,b.example}", "ingress.tlsSecretName=x")
    flags = [part for value in (*values, "gateway.basePath=/m") for part in ("--set", value)]
    printed = helm.run("install", RELEASE, ".", *place, *flags)
    assert "\nThe web page:\n\nhttps://a.example/m/\nhttps://b.example/m/\n\nkubectl port-forward" in printed


@pytest.mark.usefixtures("printed")
def test_the_documented_upgrade_takes_a_chart_with_a_further_value_and_keeps_those_that_were_set(
    helm: Helm, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    place = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig))
    helm.run("upgrade", RELEASE, ".", *place, "--set", "slots=2")
    (flags,) = re.findall(r"^helm upgrade model-provisioner \. --namespace models (.*)$", INSTALLING, re.MULTILINE)
    helm.run("upgrade", RELEASE, str(next_version(helm, tmp_path)), *place, *flags.split())
    manifest = helm.run("get", "manifest", RELEASE, *place)
    assert "--slots=2" in manifest
    assert "name: added" in manifest


def next_version(helm: Helm, directory: Path) -> Path:
    """A copy of the chart with one more value, which a template reads."""
    helm.run("package", ".", "--destination", str(directory))
    with tarfile.open(next(directory.glob("*.tgz"))) as archive:
        archive.extractall(directory)  # our own package; the parameter `filter` came with Python 3.11.4
    chart = directory / "model-provisioner"
    with (chart / "values.yaml").open("a") as values:
        values.write("\nextra: {name: added}\n")
    schema = json.loads((chart / "values.schema.json").read_text())
    schema["properties"]["extra"] = {"type": "object"}
    (chart / "values.schema.json").write_text(json.dumps(schema))
    added = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Values.extra.name }}\n"
    (chart / "templates" / "extra.yaml").write_text(added)
    return chart


def test_the_documented_command_changes_a_definition_that_another_program_created(cluster: Cluster) -> None:
    (flags,) = re.findall(r"^kubectl apply (.*) -f crds/$", INSTALLING, re.MULTILINE)
    assert "--server-side" in flags
    definition = yaml.safe_load((ROOT / "crds" / "modeldownload.yaml").read_text())
    definition["spec"]["versions"][0]["additionalPrinterColumns"][0]["description"] = "changed"
    force = str("--force-conflicts" in flags).lower()
    query = f"?fieldManager=kubectl&dryRun=All&force={force}"
    answer = cluster.api.request(
        "PATCH", path_of(cluster.api, definition) + query, definition, content_type="application/apply-patch+yaml"
    )
    assert answer["spec"]["versions"][0]["additionalPrinterColumns"][0]["description"] == "changed"
