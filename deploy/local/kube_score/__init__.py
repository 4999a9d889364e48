"""Finds kube-score, which checks the rendered chart: in a cache outside the tree, else by a build with Go.

Called by the chart's tests. `go.mod` beside this file has the version. How a program is built is in `gobuild`.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from deploy.local import gobuild
from deploy.local.binaries import cache_directory

MODULE = Path(__file__).parent
_PACKAGE = "github.com/zegl/kube-score"


def find_or_build(environment: Mapping[str, str] = os.environ, out: TextIO | None = None) -> Path:
    """Returns the program. The first build takes less than a minute.

    Progress goes to `out` (default: `sys.stderr` at the time of the call). Raises gobuild.GoMissing and
    gobuild.BuildFailed.
    """
    version = gobuild.required(MODULE, _PACKAGE)
    program = gobuild.Program("kube-score", f"{_PACKAGE}/cmd/kube-score", MODULE)
    return gobuild.build(program, cache_directory(environment) / f"kube-score-{version}", out or sys.stderr)
