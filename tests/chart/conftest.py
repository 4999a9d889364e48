"""Helm, found or built once."""

import shutil

import pytest

from deploy.local.gobuild import BuildFailed
from deploy.local.helm import find_or_build
from tests.chart.rendering import Helm


@pytest.fixture(scope="session")
def helm() -> Helm:
    try:
        return Helm(find_or_build())
    except BuildFailed as error:
        if shutil.which("go"):
            raise
        pytest.skip(f"no Helm: {error}")
