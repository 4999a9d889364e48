"""A gateway as a real process, and callers with service accounts of different rights."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from tests.gateway.caller import Caller, Desk, grant
from tests.support.programs import eventually, free_port, running


@pytest.fixture
def desk(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Desk]:
    """One gateway that serves `namespace`, with the least rights it needs."""
    grant(cluster, namespace, "gateway", ["list", "watch"])
    grant(cluster, namespace, "editor", ["get", "list", "watch", "create", "patch", "delete"])
    grant(cluster, namespace, "reader", ["get", "list", "watch"])
    cluster.create_service_account(namespace, "stranger")
    listen = f"127.0.0.1:{free_port()}"
    flags = [
        "gateway",
        f"--listen={listen}",
        f"--kubeconfig={cluster.kubeconfig_for_service_account(namespace, 'gateway')}",
        f"--watch-namespace={namespace}",
        f"--default-namespace={namespace}",
    ]
    with running(flags, tmp_path / "gateway.log") as program:
        found = Desk(cluster, namespace, f"http://{listen}", program)
        eventually(lambda: Caller(found.url, None).reached("/readyz"), "the gateway is ready")
        yield found
