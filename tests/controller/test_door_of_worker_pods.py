"""Worker pods that trust the certificate which the administrator gives, on a real API server with real processes."""

import base64
from pathlib import Path

import trustme

from deploy.local.cluster import Cluster
from tests.controller.test_worker_pods import Pods
from tests.support.pod_node import PodNode
from tests.support.stand import Stand


def certificate(authority: trustme.CA, *names: str) -> dict[str, str]:
    """The data of a Secret as cert-manager writes it."""
    issued = authority.issue_cert(*names)
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    parts = {"tls.crt": chain, "tls.key": issued.private_key_pem.bytes(), "ca.crt": authority.cert_pem.bytes()}
    return {key: base64.b64encode(value).decode() for key, value in parts.items()}


def test_a_certificate_for_another_name_is_told_and_one_for_the_right_name_is_used(
    bench: Stand, cluster: Cluster, tmp_path: Path
) -> None:
    claim, authority = tmp_path / "team", trustme.CA()
    claim.mkdir()
    secrets = f"/api/v1/namespaces/{bench.namespace}/secrets"
    wrong = certificate(authority, "another.example")
    cluster.api.create(secrets, {"metadata": {"name": "door"}, "type": "kubernetes.io/tls", "data": wrong})
    with PodNode(cluster, bench.namespace, tmp_path, {"team": claim}) as node:
        pods = Pods(bench, node, claim)
        operator = pods.start_operator("--worker-tls-secret=door", module="tests.support.hasty_pods")
        pods.apply("tiny", modelRef="hf:acme/tiny")
        bench.until("tiny", "WorkerRefused")
        message = bench.ready("tiny")["message"]
        told = (
            f"Secret {bench.namespace}/door of workers.tlsSecretName can't be used: worker pods refuse its certificate"
        )
        assert told in message
        assert "for 127.0.0.1 (" in message
        assert f"no worker pod can connect: {told}" in operator.output()
        assert not node.jobs

        cluster.api.merge(f"{secrets}/door", {"data": certificate(authority, "127.0.0.1")})
        bench.until("tiny", "Available")
        assert len(node.jobs) == 1
