"""The rights that `workers.enabled` adds are those that worker pods need, as an audit log shows."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.binaries import Binaries
from tests.chart.auditing import Right, asked, audited, granted
from tests.chart.installing import install
from tests.chart.rendering import Helm
from tests.support.ggufs import tiny_gguf
from tests.support.pod_node import PodNode
from tests.support.programs import eventually, free_port
from tests.support.stand import Stand, stand

ACCOUNT = "model-provisioner"


@pytest.fixture
def site(binaries: Binaries, tmp_path: Path) -> Iterator[tuple[Stand, Path]]:
    """A stand on a control plane of its own, and the audit log of that."""
    (tmp_path / "cluster").mkdir()
    with audited(binaries, tmp_path / "cluster") as (cluster, log):
        cluster.create_namespace("ai")
        with stand(cluster, "ai", tmp_path) as bench:
            bench.hub.repository("acme/tiny").add("tiny.Q4_K_M.gguf", tiny_gguf())
            yield bench, log


def test_no_right_for_worker_pods_is_unused_and_none_is_missing(
    site: tuple[Stand, Path], helm: Helm, tmp_path: Path
) -> None:
    bench, log = site
    with_pods, without = helm.render("workers.enabled=true", namespace="ai"), helm.render(namespace="ai")
    install(bench.cluster.api, with_pods, "ai")
    kubeconfig = bench.cluster.kubeconfig_for_service_account("ai", ACCOUNT)
    address = f"127.0.0.1:{free_port()}"
    (tmp_path / "team").mkdir()
    with PodNode(bench.cluster, "ai", tmp_path, {"team": tmp_path / "team"}) as node:
        bench.start_operator(
            f"--kubeconfig={kubeconfig}",
            f"--worker-listen={address}",
            f"--worker-connect={address}",
            "--worker-image=example/mp:1",
            "--worker-instance=model-provisioner",
            module="tests.support.hasty_pods",
        )
        node.pending = {"phase": "Pending"}
        bench.apply("tiny", modelRef="hf:acme/tiny", destination={"claimName": "team"})
        bench.until("tiny", "WorkerPending")
        node.pending = None
        bench.until("tiny", "Available")
        eventually(lambda: not node.pods, "the pod has ended, and its Job is deleted")

    allowed, refused = asked(log, "ai")
    assert {right for right in refused if right.account == ACCOUNT} == set()
    added = granted(with_pods) - granted(without)
    unused = {right for right in added if not any(right.covers(used) for used in allowed)}
    renewal = Right(ACCOUNT, "ai", "patch", "secrets", "model-provisioner-workers-ca")
    assert unused == {renewal}, "which is used once a year"
