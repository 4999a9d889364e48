"""Where Helm comes from: HELM, else PATH, else a build with Go that is kept outside the tree.

Called by the chart's tests, and by whoever installs the chart from here. `go.mod` beside this file names the version.
"""

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from deploy.local import gobuild
from deploy.local.binaries import cache_directory

MODULE = Path(__file__).parent


def find_or_build(environment: Mapping[str, str] = os.environ, out: TextIO | None = None) -> Path:
    """The program, from the first place that has it; a first build takes a minute or two and says so on `out`
    (standard error, as it is at the time of the call).

    Raises gobuild.GoMissing where there is neither Helm nor Go, gobuild.BuildFailed where HELM is not a program.
    """
    named = environment.get("HELM")
    if named and not os.access(named, os.X_OK):
        raise gobuild.BuildFailed(f"HELM is {named}, which is not a program")
    found = named or shutil.which("helm", path=environment.get("PATH"))
    if found:
        return Path(found)
    helm, kubernetes = _version("helm.sh/helm/v3"), _version("k8s.io/client-go")
    program = gobuild.Program("helm", "helm.sh/helm/v3/cmd/helm", MODULE, _flags(helm, kubernetes))
    return gobuild.build(program, cache_directory(environment) / f"helm-{helm}", out or sys.stderr)


def _version(module: str) -> str:
    """The version of a module, as `go.mod` requires it."""
    required = re.search(rf"^\s*{re.escape(module)} (v\S+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert required
    return required[1]


def _flags(helm: str, client_go: str) -> str:
    """What Helm's own Makefile sets: without it `helm template` takes the cluster for Kubernetes 1.20.

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
