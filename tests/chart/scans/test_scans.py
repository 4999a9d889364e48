"""What checkov and kube-score find in the chart, with each set of values: nothing, or a justified exception."""

import os
from pathlib import Path

import pytest
import yaml

from tests.chart.rendering import NAMESPACE, ROOT, Helm
from tests.chart.scans.scanners import EXCEPTIONS, ExceptionEntry, Finding, by_checkov, by_kube_score
from tests.support import tools

pytestmark = pytest.mark.xdist_group("scans")  # one process makes what all of them use

JUSTIFIED = EXCEPTIONS.validate_python(yaml.safe_load((ROOT / "deploy" / "scan-exceptions.yaml").read_text()))
SETS = sorted((ROOT / "deploy" / "values").glob("*.yaml"))
BAD_POD = """
apiVersion: v1
kind: Pod
metadata: {name: bad, namespace: ai}
spec: {containers: [{name: bad, image: "bad:1", securityContext: {privileged: true}}]}
"""


@pytest.fixture(scope="module")
def renderings(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The chart with its default values and with each set, in files that are named like the set."""
    directory = tmp_path_factory.mktemp("renderings")
    for values in [ROOT / "values.yaml", *SETS]:
        text = helm.run("template", "model-provisioner", ".", "--namespace", NAMESPACE, "--values", str(values))
        (directory / f"{'default' if values.name == 'values.yaml' else values.stem}.yaml").write_text(text)
    return sorted(directory.iterdir())


@pytest.fixture(scope="module")
def found_by_checkov(renderings: list[Path]) -> list[Finding]:
    return by_checkov(tools.require("checkov"), renderings, os.environ)


@pytest.fixture(scope="module")
def found_by_kube_score(renderings: list[Path], kube_score: Path) -> list[Finding]:
    return by_kube_score(kube_score, renderings)


def unjustified(findings: list[Finding]) -> list[Finding]:
    return sorted(found for found in findings if not any(entry.covers(found) for entry in JUSTIFIED))


def test_checkov_finds_nothing_but_justified_exceptions(found_by_checkov: list[Finding]) -> None:
    assert unjustified(found_by_checkov) == []


def test_kube_score_finds_nothing_but_justified_exceptions(found_by_kube_score: list[Finding]) -> None:
    assert unjustified(found_by_kube_score) == []


def test_every_exception_is_needed(found_by_checkov: list[Finding], found_by_kube_score: list[Finding]) -> None:
    findings = found_by_checkov + found_by_kube_score
    assert [part for entry in JUSTIFIED for part in entry.not_needed(findings)] == []


def test_both_find_what_is_wrong(kube_score: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(BAD_POD)
    found = by_checkov(tools.require("checkov"), [tmp_path / "bad.yaml"], os.environ)
    assert Finding("CKV_K8S_16", "Pod/bad", "bad") in unjustified(found)
    messages = [found.check for found in unjustified(by_kube_score(kube_score, [tmp_path / "bad.yaml"]))]
    assert "container-security-context-privileged: The container is privileged" in messages


def test_an_exception_without_a_finding_is_told() -> None:
    entry = ExceptionEntry(
        checks=("A", "B"), objects=("Pod/x",), values=("one", "two"), reason="It is only here for this test, and long."
    )
    findings = [Finding("A", "Pod/x", "one"), Finding("B", "Pod/y", "one"), Finding("A", "Pod/x", "three")]
    assert entry.not_needed(findings) == ["B of Pod/x", "A with two"]
    assert [entry.covers(found) for found in findings] == [True, False, False]
