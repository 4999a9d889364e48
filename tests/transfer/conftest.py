"""A hub and a volume for each test of `transfer`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import Hub
from tests.transfer.bench import Bench


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture
def bench(hub: Hub, tmp_path: Path) -> Bench:
    root = tmp_path / "volume"
    root.mkdir()
    return Bench(hub, root)
