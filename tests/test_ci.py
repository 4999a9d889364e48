"""`.ci/run` runs `make e2e` if it can, and says why if it does not."""

import os
import re
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "run"

LATE = "make e2e: not run, because … s have passed since the start, and 2700 s are the limit\n"
NEITHER = "make e2e: not run, because KUBECONFIG names no cluster, and E2E_NODE names no scripts that make a node\n"

CASES = {
    "a cluster": ({"KUBECONFIG": "/a/kubeconfig"}, "make e2e\n"),
    "neither": ({"E2E_NODE": "/nowhere"}, NEITHER),
    "late": ({"KUBECONFIG": "/a/kubeconfig", "SECONDS": "2700"}, LATE),
    "late, with scripts": ({"E2E_NODE": "scripts", "SECONDS": "2701"}, LATE),
    "scripts": ({"E2E_NODE": "scripts"}, "up\nmake e2e on conf/admin.kubeconfig\ndown\n"),
    "no node comes up": (
        {"E2E_NODE": "scripts", "UP": "false"},
        "up\ndown\nmake e2e: not run, because this machine has no node\n",
    ),
}

MAKE = """#!/bin/sh
case "$1${WORK-}" in e2e?*) env >"$0.env"; echo "make e2e on ${KUBECONFIG#$WORK/}" ;; *) echo "make $*" ;; esac
[ "$1" != "${FAILS-}" ]
"""
BEFORE = "make lint\nmake test PYTEST_FLAGS=--fail-on-skip\n"


def run(directory: Path, variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Runs the script with a `make` that only prints; the folder `scripts` makes a node that only prints."""
    programs = {
        "make": MAKE,
        "scripts/up.sh": "#!/bin/sh\necho up; ${UP-true}",
        "scripts/down.sh": "#!/bin/sh\necho down",
    }
    for name, text in programs.items():
        file = directory / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    if variables.get("E2E_NODE") == "scripts":
        variables = {**variables, "E2E_NODE": str(directory / "scripts"), "WORK": str(directory / "work")}
    environment = {"PATH": f"{directory}:{os.environ['PATH']}", **variables}
    return subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(("variables", "last"), CASES.values(), ids=CASES)
def test_the_run_on_a_cluster_comes_last(tmp_path: Path, variables: dict[str, str], last: str) -> None:
    done = run(tmp_path, variables)
    printed = re.sub(r"\d+ s have passed", "… s have passed", done.stdout)
    assert (printed, done.returncode) == (f"{BEFORE}{last}", 0)


def test_the_scripts_build_both_images_on_the_node(tmp_path: Path) -> None:
    run(tmp_path, {"E2E_NODE": "scripts"})
    variables = dict(line.split("=", 1) for line in (tmp_path / "make.env").read_text().splitlines())
    program = tmp_path / "scripts/build-image.sh"
    engine = SCRIPT.parents[1] / "deploy/e2e/engine.Dockerfile"
    assert variables["IMAGE_BUILD"] == f"{program} . {{image}} --file=deploy/Dockerfile"
    assert variables["ENGINE_BUILD"] == f"{program} {{root}} {{image}} --file={engine}"
    assert (variables["IMAGE_LOAD"], variables["ENGINE_LOAD"]) == ("", "")
    assert engine.exists()
    assert (SCRIPT.parents[1] / variables["KUBELET_RESTART"]).exists()


def test_a_failure_on_the_node_is_a_failure_and_the_node_is_removed(tmp_path: Path) -> None:
    done = run(tmp_path, {"E2E_NODE": "scripts", "FAILS": "e2e"})
    assert done.returncode not in {0, 3}
    assert done.stdout.endswith("down\n")


def test_a_node_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "work" / "pki").mkdir(parents=True)
    done = run(tmp_path, {"E2E_NODE": "scripts"})
    assert (done.returncode, done.stdout) == (0, f"{BEFORE}make e2e: not run, because this machine has no node\n")
    assert "another node is up" in done.stderr


def test_a_failure_ends_it(tmp_path: Path) -> None:
    done = run(tmp_path, {"KUBECONFIG": "/a/kubeconfig", "FAILS": "test"})
    assert (done.returncode != 0, "e2e" in done.stdout) == (True, False)
