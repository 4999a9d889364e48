"""Finds actionlint, which checks the workflows: in PATH, else in a cache outside the tree, else by a build with Go.

Called by the tests of `.github`. `go.mod` beside this file has the version. How a program is built is in `gobuild`.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from deploy.local import gobuild
from deploy.local.binaries import cache_directory

MODULE = Path(__file__).parent
_PACKAGE = "github.com/rhysd/actionlint"


def find_or_build(environment: Mapping[str, str] = os.environ, out: TextIO | None = None) -> Path:
    """Returns the program from the first place that has it. The first build takes less than a minute.

    Progress goes to `out` (default: `sys.stderr` at the time of the call). Raises gobuild.GoMissing and
    gobuild.BuildFailed.
    """
    if found := shutil.which("actionlint", path=environment.get("PATH")):
        return Path(found)
    program = gobuild.Program("actionlint", f"{_PACKAGE}/cmd/actionlint", MODULE)
    version = gobuild.required(MODULE, _PACKAGE)
    return gobuild.build(program, cache_directory(environment) / f"actionlint-{version}", out or sys.stderr)
