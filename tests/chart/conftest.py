"""Helm for the tests of the chart."""

import pytest

from deploy.local.helm import find_or_build
from tests.chart.rendering import Helm
from tests.support import prepared


@pytest.fixture(scope="session")
def helm() -> Helm:
    return Helm(prepared.found(find_or_build, "set HELM to a Helm 3"))
