"""Helm and Kustomize for the tests of the manifests."""

from pathlib import Path

import pytest

from deploy.local.kustomize import find_or_build
from tests.chart.conftest import foreign, helm
from tests.support import prepared

__all__ = ["foreign", "helm", "kustomize"]


@pytest.fixture(scope="session")
def kustomize() -> Path:
    return prepared.found(find_or_build, "set KUSTOMIZE to a Kustomize 5")
