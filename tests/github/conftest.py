"""The program that checks workflows."""

from pathlib import Path

import pytest

from deploy.local.actionlint import find_or_build
from tests.support import prepared


@pytest.fixture(scope="session")
def actionlint() -> Path:
    return prepared.found(find_or_build, "put actionlint into PATH")
