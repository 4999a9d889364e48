"""A stand whose hub has a real model under two names."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from tests.support import tools
from tests.support.stand import Stand, stand


@pytest.fixture
def bench(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Stand]:
    """Its hub has `acme/gemma` and `acme/again`, the same file."""
    model = Path(tools.require("gemma"))
    with stand(cluster, namespace, tmp_path) as made:
        for name in ("gemma", "again"):
            made.hub.repository(f"acme/{name}").add(f"{name}.Q4_K_M.gguf", model)
        yield made
