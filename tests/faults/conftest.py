"""A hub, and a volume that fails on request."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faulty_volume import FaultyVolume, faulty_volume
from tests.support.hub import Hub


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[FaultyVolume]:
    with faulty_volume(tmp_path / "faulty") as mounted:
        yield mounted
