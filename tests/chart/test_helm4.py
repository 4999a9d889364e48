"""Helm 4: the chart renders the same, and a release that contains a ModelDownload is waited for.

Helm 4 waits by the conditions of custom resources (kstatus), which Helm 3 does not know.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.local.cluster import Cluster
from tests.chart.rendering import Helm
from tests.support.ggufs import tiny_gguf
from tests.support.programs import eventually
from tests.support.stand import Stand, stand


@pytest.fixture
def bench(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Stand]:
    with stand(cluster, namespace, tmp_path) as made:
        made.hub.repository("acme/tiny").add("tiny.Q4_K_M.gguf", tiny_gguf())
        made.start_operator()
        yield made


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A chart of a team whose only object is a ModelDownload with the ref `ref`."""
    place = tmp_path / "team"
    (place / "templates").mkdir(parents=True)
    (place / "Chart.yaml").write_text("apiVersion: v2\nname: team\nversion: 1.0.0\n")
    (place / "templates/model.yaml").write_text(
        "apiVersion: models.rbee.dev/v1alpha1\nkind: ModelDownload\nmetadata: {name: tiny}\n"
        "spec: {modelRef: {{ .Values.ref | quote }}, suspend: {{ .Values.suspend }}}\n"
    )
    (place / "values.yaml").write_text("suspend: false\n")
    return place


def installing(helm: Helm, bench: Stand, chart: Path, *flags: str) -> "subprocess.Popen[str]":
    command = [str(helm.binary), "install", "team", str(chart), "--namespace", bench.namespace, "--wait", *flags]
    environment = os.environ | {"KUBECONFIG": str(bench.cluster.kubeconfig)}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_lint_finds_nothing(helm4: Helm) -> None:
    assert "0 chart(s) failed" in helm4.run("lint", "--strict", ".")


def test_it_renders_what_helm_3_renders(helm: Helm, helm4: Helm) -> None:
    settings = ("gateway.enabled=true", 'watchNamespaces=["a"]')
    three, four = (list(yaml.safe_load_all(one.template(*settings))) for one in (helm, helm4))
    assert four == three


def test_install_waits_until_the_model_is_ready(helm4: Helm, bench: Stand, chart: Path) -> None:
    bench.hub.bytes_per_second(20_000)
    with installing(helm4, bench, chart, "--set", "ref=hf:acme/tiny", "--timeout", "2m") as program:
        eventually(lambda: bench.exists("tiny"), "Helm has created the object")
        bench.until("tiny", "Downloading")
        assert program.poll() is None, "it waits while the model is fetched"
        bench.hub.bytes_per_second(None)
        said = program.communicate(timeout=120)[0]
    assert program.returncode == 0, said
    assert bench.ready("tiny")["status"] == "True"


def test_install_reports_a_model_that_needs_an_action(helm4: Helm, bench: Stand, chart: Path) -> None:
    with installing(helm4, bench, chart, "--set", "ref=hf:acme/absent", "--timeout", "2m") as program:
        said = program.communicate(timeout=120)[0]
    assert program.returncode != 0
    assert bench.ready("tiny")["reason"] == "SourceNotFound"
    assert "tiny" in said
