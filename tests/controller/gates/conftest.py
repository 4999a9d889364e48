"""Fixtures of the gates: the pods of a stand's namespace, and the gates alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from tests.controller.gates.rig import Rig
from tests.support.api_proxy import ApiProxy
from tests.support.gated_pods import GatedPods
from tests.support.stand import Stand


@pytest.fixture
def pods(bench: Stand) -> GatedPods:
    return GatedPods(bench.cluster.api, bench.namespace)


@pytest.fixture
def rig(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Rig]:
    """The gates of two namespaces, which do not run yet; a claim `models` for one node is there."""
    other = f"{namespace}-other"
    cluster.create_namespace(other)
    with ApiProxy(cluster) as proxy:
        yield Rig(cluster, proxy, (namespace, other), proxy.kubeconfig(tmp_path / "config"))
