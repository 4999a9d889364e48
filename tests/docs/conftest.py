"""The programs that the documentation calls."""

from pathlib import Path

import pytest

from deploy.local import helm, kubectl
from tests.support import prepared


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    return {
        "kubectl": prepared.found(kubectl.find_or_build, "set KUBEBUILDER_ASSETS to a directory with kubectl"),
        "helm": prepared.found(helm.find_or_build, "set HELM to a Helm 3"),
    }
