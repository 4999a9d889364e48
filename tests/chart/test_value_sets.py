"""The sets of values in `deploy/values`: what each changes in the rendering, and that an API server takes it.

A golden is the difference from the default rendering, so that it shows what a set does, and nothing else.
"""

import difflib
import os
import re
from pathlib import Path

import pytest
import yaml

from deploy.local.cluster import Cluster
from tests.chart.installing import create
from tests.chart.rendering import NAMESPACE, ROOT, Helm
from tests.chart.test_rendering import GOLDEN

SETS = sorted((ROOT / "deploy" / "values").glob("*.yaml"))
PRIORITY = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 1}
DIFFERENCES = GOLDEN.parent / "value_sets"


def rendered(helm: Helm, values: Path, namespace: str = NAMESPACE) -> str:
    return helm.template_with("--values", str(values), namespace=namespace)


def difference(text: str) -> str:
    """The lines by which a rendering differs from the default one. Line numbers are left out."""
    lines = difflib.unified_diff(
        GOLDEN.read_text().splitlines(), text.splitlines(), "default", "these values", "", "", 2
    )
    return "".join(f"{re.sub('^@@ .* @@', '@@', line.rstrip())}\n" for line in lines)


@pytest.mark.parametrize("values", SETS, ids=[file.stem for file in SETS])
def test_a_set_changes_what_its_golden_shows(helm: Helm, values: Path) -> None:
    made = difference(rendered(helm, values))
    golden = DIFFERENCES / f"{values.stem}.diff"
    if os.environ.get("UPDATE_GOLDENS"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(made)
    assert made == golden.read_text(), "the rendering changed; see it with `UPDATE_GOLDENS=1 pytest` and git diff"
    assert "\n+" in made or "\n-" in made


def test_no_golden_is_left_over() -> None:
    assert sorted(file.stem for file in DIFFERENCES.iterdir()) == [file.stem for file in SETS]
    assert len(SETS) >= 12


@pytest.mark.parametrize("values", SETS, ids=[file.stem for file in SETS])
def test_lint_and_the_api_server_accept_a_set(helm: Helm, foreign: Cluster, namespace: str, values: Path) -> None:
    foreign.apply({**PRIORITY, "metadata": {"name": "infrastructure"}})
    helm.run("lint", "--strict", ".", "--values", str(values))
    watched = set(yaml.safe_load(values.read_text()).get("watchNamespaces", ()))
    for manifest in yaml.safe_load_all(rendered(helm, values, namespace)):
        if manifest and manifest["metadata"].get("namespace") not in watched:
            manifest["metadata"].setdefault("namespace", namespace)
            if not foreign.api.resource(manifest["apiVersion"], manifest["kind"]).namespaced:
                del manifest["metadata"]["namespace"]
            create(foreign.api, manifest, dry_run=True)


def test_each_set_says_in_its_first_line_what_it_is_for() -> None:
    assert [file.name for file in SETS if not re.match(r"# [A-Z].{20,}", file.read_text())] == []
