"""The policies on the oldest API server that they are for."""

import pytest

from deploy.local.api import ApiError
from deploy.local.binaries import Binaries
from deploy.local.cluster import Cluster
from tests.chart.injection.conftest import installed
from tests.chart.injection.pods import GATE, MOUNT, VOLUME, env, mounts, pod, variable, volumes
from tests.chart.rendering import Helm


def test_the_policies_work_on_kubernetes_1_36(helm: Helm, binaries: Binaries) -> None:
    """A newer API server stands in for it: `emulated-version` takes features and functions of expressions away."""
    with Cluster(binaries, flags={"emulated-version": "1.36"}) as older, installed(helm, older) as served:
        stored = served.create(pod("a,b.c"))
        assert stored["spec"]["schedulingGates"] == [GATE]
        assert (volumes(stored), mounts(stored)) == ([VOLUME], [MOUNT])
        names = ("MODEL_PATH_A", "MODEL_PATH_B_C")
        assert env(stored) == [variable(name, f"model-path-{index}") for index, name in enumerate(names)]
        with pytest.raises(ApiError, match="'a b' in the annotation"):
            served.create(pod("a b"))
