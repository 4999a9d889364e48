"""A gateway as a real process, and callers with service accounts of different rights."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from tests.gateway.caller import Desk, opened


@pytest.fixture
def desk(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Desk]:
    """One gateway that serves `namespace`, with the least rights it needs."""
    with opened(cluster, namespace, tmp_path) as found:
        yield found
