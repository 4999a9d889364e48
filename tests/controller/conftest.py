"""Fixtures of the controller: a stand per test, with a small model in its hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from tests.support.ggufs import tiny_gguf
from tests.support.stand import Stand, stand


@pytest.fixture
def bench(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Stand]:
    """A namespace, a hub with `acme/tiny` (Q4_K_M and Q8_0), and a volume. The test starts the operator."""
    with stand(cluster, namespace, tmp_path) as made:
        repository = made.hub.repository("acme/tiny")
        repository.add("tiny.Q4_K_M.gguf", tiny_gguf())
        repository.add("tiny.Q8_0.gguf", tiny_gguf(seed=1))
        yield made
