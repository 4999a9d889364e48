"""Finds etcd and kube-apiserver: in KUBEBUILDER_ASSETS, else in a cache outside the tree, else by a build with Go.

Called by `python -m deploy.local`, the demo, the tests and the benchmarks. The versions are only in `go.mod` beside
this file. How a program is built is in `gobuild`.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from deploy.local import gobuild

MODULE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Binaries:
    """The two programs of a control plane."""

    etcd: Path
    kube_apiserver: Path


def find_or_build(environment: Mapping[str, str] = os.environ, out: TextIO | None = None) -> Binaries:
    """Returns the programs from the first place that has them.

    The first build takes minutes and writes its progress to `out` (default: standard error). Raises gobuild.GoMissing
    if there are neither assets nor Go, gobuild.BuildFailed if a build fails or KUBEBUILDER_ASSETS lacks a program.
    """
    assets = environment.get("KUBEBUILDER_ASSETS")
    if assets:
        return Binaries(_asset(Path(assets), "etcd"), _asset(Path(assets), "kube-apiserver"))
    directory = cache_directory(environment) / "-".join(_versions())
    etcd, apiserver = (gobuild.build(program, directory, out or sys.stderr) for program in _programs())
    return Binaries(etcd, apiserver)


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """The directory of the built programs: below XDG_CACHE_HOME, by default ~/.cache."""
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "model-provisioner"


def _asset(directory: Path, name: str) -> Path:
    path = directory / name
    if not os.access(path, os.X_OK):
        raise gobuild.BuildFailed(f"KUBEBUILDER_ASSETS is {directory}, but there is no program {name} in it")
    return path


def _versions() -> tuple[str, str]:
    """The versions of Kubernetes and etcd that `go.mod` requires."""
    kubernetes = gobuild.required(MODULE, "k8s.io/kubernetes")
    return f"kubernetes-{kubernetes}", f"etcd-{gobuild.required(MODULE, 'go.etcd.io/etcd/server/v3')}"


def _programs() -> tuple[gobuild.Program, gobuild.Program]:
    version = _versions()[0].removeprefix("kubernetes-")
    major, minor, _ = version.removeprefix("v").split(".", 2)
    # Without these, an API server that is not built with the scripts of Kubernetes reports the version v0.0.0-master.
    values = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "archive"}
    stamps = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items())
    return (
        gobuild.Program("etcd", "go.etcd.io/etcd/server/v3", MODULE),
        gobuild.Program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", MODULE, f"-s -w {stamps}"),
    )
