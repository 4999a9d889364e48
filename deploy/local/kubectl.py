"""Finds kubectl: in KUBEBUILDER_ASSETS, else in a cache outside the tree, else by a build with Go.

Called by the tests that run the commands of the documentation. `go.mod` beside this file has the version, which is that
of the API server: a kubectl in PATH may be too old for it.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from deploy.local import gobuild
from deploy.local.binaries import MODULE, cache_directory

_PACKAGE = "k8s.io/kubernetes"


def find_or_build(environment: Mapping[str, str] = os.environ, out: TextIO | None = None) -> Path:
    """Returns the program from the first place that has it.

    The first build takes a minute or two after that of the API server, with whom it shares most packages. Progress goes
    to `out` (default: `sys.stderr` at the time of the call). Raises gobuild.GoMissing and gobuild.BuildFailed.
    """
    asset = Path(environment.get("KUBEBUILDER_ASSETS") or "/nonexistent") / "kubectl"
    if os.access(asset, os.X_OK):
        return asset
    version = gobuild.required(MODULE, _PACKAGE)
    program = gobuild.Program("kubectl", f"{_PACKAGE}/cmd/kubectl", MODULE)
    return gobuild.build(program, cache_directory(environment) / f"kubectl-{version}", out or sys.stderr)
