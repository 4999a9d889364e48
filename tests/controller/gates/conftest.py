"""Fixtures of the gates: the pods of a stand's namespace."""

import pytest

from tests.support.gated_pods import GatedPods
from tests.support.stand import Stand


@pytest.fixture
def pods(bench: Stand) -> GatedPods:
    return GatedPods(bench.cluster.api, bench.namespace)
