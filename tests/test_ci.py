"""`.ci/run` runs `make e2e` if it can, and says why if it does not."""

import os
import re
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "run"

CASES = {
    "a cluster": ({"KUBECONFIG": "/a/kubeconfig"}, "make e2e\n"),
    "no cluster": ({}, "make e2e: not run, because KUBECONFIG names no cluster\n"),
    "late": (
        {"KUBECONFIG": "/a/kubeconfig", "SECONDS": "2700"},
        "make e2e: not run, because … s have passed since the start, and 2700 s are the limit\n",
    ),
}


@pytest.mark.parametrize(("variables", "last"), CASES.values(), ids=CASES)
def test_the_run_on_a_cluster_comes_last(tmp_path: Path, variables: dict[str, str], last: str) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "make $*"\n')
    make.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **variables}
    done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, timeout=60, check=True)
    printed = re.sub(r"\d+ s have passed", "… s have passed", done.stdout)
    assert printed == f"make lint\nmake test PYTEST_FLAGS=--fail-on-skip\n{last}"


def test_a_failure_ends_it(tmp_path: Path) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "make $*"\n[ "$1" != test ]\n')
    make.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "KUBECONFIG": "/a/kubeconfig"}
    done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode != 0, "e2e" in done.stdout) == (True, False)
