"""Helm, found or built once."""

import os
from pathlib import Path

import pytest

from tests.chart.rendering import Helm


@pytest.fixture(scope="session")
def helm() -> Helm:
    return Helm(Path(os.environ["HELM"]))
