"""Helm for the tests of the chart."""

import pytest

from deploy.local import helm as helm3
from deploy.local import helm4 as helm4_program
from tests.chart.rendering import Helm
from tests.support import prepared


@pytest.fixture(scope="session")
def helm() -> Helm:
    return Helm(prepared.found(helm3.find_or_build, "set HELM to a Helm 3"))


@pytest.fixture(scope="session")
def helm4() -> Helm:
    return Helm(prepared.found(helm4_program.find_or_build, "install Go"))
