"""Finds Helm: the program that HELM names, else in PATH, else in a cache outside the tree, else by a build with Go.

Called by the chart's tests. `go.mod` beside this file has the version. How a program is built is in `gobuild`.
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


def find_or_build(environment: Mapping[str, str] = os.environ, out: TextIO | None = None) -> Path:
    """Returns the program from the first place that has it.

    The first build takes a minute or two and writes its progress to `out` (default: `sys.stderr` at the time of the
    call). Raises gobuild.GoMissing if there is neither Helm nor Go, gobuild.BuildFailed if HELM is not a program or the
    build fails.
    """
    named = environment.get("HELM")
    if named and not os.access(named, os.X_OK):
        raise gobuild.BuildFailed(f"HELM is {named}, which is not a program")
    found = named or shutil.which("helm", path=environment.get("PATH"))
    if found:
        return Path(found)
    helm, kubernetes = (gobuild.required(MODULE, name) for name in ("helm.sh/helm/v3", "k8s.io/client-go"))
    program = gobuild.Program("helm", "helm.sh/helm/v3/cmd/helm", MODULE, _flags(helm, kubernetes))
    return gobuild.build(program, cache_directory(environment) / f"helm-{helm}", out or sys.stderr)


def _flags(helm: str, client_go: str) -> str:
    """The linker flags that Helm's own Makefile sets. Without them `helm template` assumes Kubernetes 1.20.

    client-go v0.37 belongs to Kubernetes 1.37.
    """
    minor = client_go.split(".")[1]
    values = {
        "helm.sh/helm/v3/internal/version.version": helm,
        "helm.sh/helm/v3/internal/version.metadata": "",
        "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor": "1",
        "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor": minor,
        "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor": "1",
        "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor": minor,
    }
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in values.items())])
