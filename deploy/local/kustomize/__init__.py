"""Finds Kustomize: the program that KUSTOMIZE names, else in PATH, else in a cache, else by a build with Go.

Called by `deploy.render` and the tests of the manifests. `go.mod` beside this file has the version.
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
_PACKAGE = "sigs.k8s.io/kustomize/kustomize/v5"


def find_or_build(environment: Mapping[str, str] = os.environ, out: TextIO | None = None) -> Path:
    """Returns the program from the first place that has it.

    The first build takes half a minute and writes its progress to `out` (default: `sys.stderr` at that time). Raises
    gobuild.GoMissing if there is neither Kustomize nor Go, gobuild.BuildFailed if KUSTOMIZE is not a program or the
    build fails.
    """
    named = environment.get("KUSTOMIZE")
    if named and not os.access(named, os.X_OK):
        raise gobuild.BuildFailed(f"KUSTOMIZE is {named}, which is not a program")
    found = named or shutil.which("kustomize", path=environment.get("PATH"))
    if found:
        return Path(found)
    program = gobuild.Program("kustomize", _PACKAGE, MODULE)
    return gobuild.build(
        program, cache_directory(environment) / f"kustomize-{gobuild.required(MODULE, _PACKAGE)}", out or sys.stderr
    )
