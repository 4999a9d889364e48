"""The control plane that all tests of one run share, and what must be there before any of them starts.

Called by `tests/conftest.py` alone; tests ask for the fixtures `cluster` and `namespace`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local import binaries, gobuild
from deploy.local.cluster import Cluster

CRDS = Path(__file__).parents[2] / "crds"


def prepare(items: list[pytest.Item]) -> None:
    """Builds the control plane where a test of `items` wants one: a first build takes longer than a test may."""
    if any("binaries" in getattr(item, "fixturenames", ()) for item in items):
        try:
            binaries.find_or_build()
        except gobuild.GoMissing:
            return  # the fixture says so, test by test


def find() -> binaries.Binaries:
    """The programs of a control plane; skips the test where there are none and no Go to build them."""
    try:
        return binaries.find_or_build()
    except gobuild.GoMissing as missing:
        pytest.skip(f"{missing}, or set KUBEBUILDER_ASSETS to a directory with etcd and kube-apiserver")


@contextmanager
def with_resource_types(programs: binaries.Binaries) -> Iterator[Cluster]:
    """A control plane that serves ModelDownloads."""
    with Cluster(programs) as cluster:
        cluster.apply(CRDS)
        yield cluster
