"""A hub and a volume for each test of `transfer`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from model_provisioner.transfer.store.store import Store
from tests.support.hub import Hub
from tests.transfer.bench import Bench


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The directory of a volume."""
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


@pytest.fixture
def store(root: Path) -> Iterator[Store]:
    """The store of that volume, open."""
    with Store.open(root, None) as opened:
        yield opened


@pytest.fixture
def bench(hub: Hub, tmp_path: Path) -> Bench:
    root = tmp_path / "volume"
    root.mkdir()
    return Bench(hub, root)
