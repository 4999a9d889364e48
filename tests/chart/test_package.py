"""The files that `helm package` puts into the chart.

The repository's root is the chart, and Helm stores all of it in a Secret, so sources and tests must stay out.
"""

import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.cluster import Cluster
from tests.chart.installing import create
from tests.chart.rendering import ROOT, Helm

WANTED = {"Chart.yaml", "values.yaml", "values.schema.json", "README.md", "LICENSE", "templates", "crds", "files"}
LARGEST = 100 * 1024  # bytes
LARGEST_RELEASE = 200 * 1024  # bytes; a Secret has at most 1 MiB, and Helm keeps ten of them


@pytest.fixture
def package(helm: Helm, tmp_path: Path) -> Path:
    helm.run("package", ".", "--destination", str(tmp_path))
    (built,) = tmp_path.iterdir()
    return built


def test_the_package_holds_the_chart_alone(package: Path) -> None:
    with tarfile.open(package) as archive:
        roots = {name.split("/")[1] for name in archive.getnames()}
    assert roots - {".helmignore"} == WANTED


def test_the_package_is_small(package: Path) -> None:
    assert package.stat().st_size < LARGEST


def annotation(name: str) -> Any:
    """The value of an annotation of Artifact Hub, parsed."""
    chart = yaml.safe_load((ROOT / "Chart.yaml").read_text())
    return yaml.safe_load(chart["annotations"][f"artifacthub.io/{name}"])


def test_artifact_hub_is_told_the_image_that_the_chart_runs(helm: Helm) -> None:
    (image,) = annotation("images")
    assert {one["image"] for one in helm.render().pod_template()["spec"]["containers"]} == {image["image"]}


def test_artifact_hub_is_told_the_definition_and_an_example_that_the_server_accepts(
    cluster: Cluster, namespace: str
) -> None:
    (told,) = annotation("crds")
    definition = yaml.safe_load((ROOT / "crds" / "modeldownload.yaml").read_text())
    names, (version,) = definition["spec"]["names"], definition["spec"]["versions"]
    assert (told["kind"], told["version"]) == (names["kind"], version["name"])
    assert told["name"] == definition["metadata"]["name"]
    for example in annotation("crdsExamples"):
        example["metadata"]["namespace"] = namespace
        assert create(cluster.api, example, dry_run=True)["kind"] == names["kind"]


def test_a_release_is_small(helm: Helm, cluster: Cluster, namespace: str) -> None:
    """The Secret in which Helm stores the release, with everything switched on."""
    values = [part for one in ("monitoring", "own-gateway") for part in ("--values", f"deploy/values/{one}.yaml")]
    place = ("--namespace", namespace, "--kubeconfig", str(cluster.kubeconfig))
    without = "metrics.podMonitor.enabled=false,metrics.prometheusRule.enabled=false"  # their types are missing here
    helm.run("install", "small", ".", *place, *values, "--set", without)
    (stored,) = [
        one
        for one in cluster.api.get(f"/api/v1/namespaces/{namespace}/secrets")["items"]
        if one["type"] == "helm.sh/release.v1"
    ]
    helm.run("uninstall", "small", *place, "--no-hooks")
    assert len(stored["data"]["release"]) < LARGEST_RELEASE
