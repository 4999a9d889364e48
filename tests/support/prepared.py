"""The programs that tests need and that are built with Go, and the control plane that the tests of one process share.

Called by the conftest files alone; tests ask for the fixtures. What a test does with a program does not belong here.
"""

from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from deploy.local import actionlint, binaries, gobuild, helm, helm4, kube_score, kubectl, kustomize
from deploy.local.cluster import Cluster

T = TypeVar("T")

CRDS = Path(__file__).parents[2] / "crds"

BUILT: Mapping[str, Callable[[], object]] = {
    "actionlint": actionlint.find_or_build,
    "binaries": binaries.find_or_build,
    "helm": helm.find_or_build,
    "helm4": helm4.find_or_build,
    "kube_score": kube_score.find_or_build,
    "kubectl": kubectl.find_or_build,
    "kustomize": kustomize.find_or_build,
}
"""Each fixture that a build provides, and what finds or builds it."""


def build(fixtures: Container[str] = frozenset(BUILT)) -> None:
    """Builds what `fixtures` need, before the first test: a first build takes longer than a test may."""
    for fixture, find_or_build in BUILT.items():
        if fixture in fixtures:
            with suppress(gobuild.GoMissing):  # each test that needs it is skipped, and says so
                find_or_build()


def found(find_or_build: Callable[[], T], instead: str) -> T:
    """What `find_or_build` returns; skips the test if there is no Go. `instead` names another way to provide it."""
    try:
        return find_or_build()
    except gobuild.GoMissing as missing:
        pytest.skip(f"{missing}, or {instead}")


@contextmanager
def with_resource_types(programs: binaries.Binaries) -> Iterator[Cluster]:
    """A control plane that serves ModelDownloads."""
    with Cluster(programs) as cluster:
        cluster.apply(CRDS)
        yield cluster
