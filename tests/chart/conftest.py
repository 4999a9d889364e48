"""Helm for the tests of the chart, and resource types of other projects that its objects have."""

from pathlib import Path

import pytest

from deploy.local import helm as helm3
from deploy.local import helm4 as helm4_program
from deploy.local import kube_score as kube_score_program
from deploy.local.cluster import Cluster
from tests.chart.rendering import Helm
from tests.support import prepared

FOREIGN = Path(__file__).parents[1] / "data" / "foreign_crds"


@pytest.fixture(scope="session")
def helm() -> Helm:
    return Helm(prepared.found(helm3.find_or_build, "set HELM to a Helm 3"))


@pytest.fixture(scope="session")
def helm4() -> Helm:
    return Helm(prepared.found(helm4_program.find_or_build, "install Go"))


@pytest.fixture(scope="session")
def kube_score() -> Path:
    return prepared.found(kube_score_program.find_or_build, "install Go")


@pytest.fixture(scope="session")
def foreign(cluster: Cluster) -> Cluster:
    """The cluster with types of the Gateway API, Prometheus Operator, Flux, Argo CD and KServe, without controllers."""
    for file in sorted(FOREIGN.iterdir()):
        cluster.apply(file)
    return cluster
