"""The Secret with the authority of the door, on a real API server: kept if it can be used, else made anew."""

import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.controller.workers.door.authority_secret import AuthoritySecret
from model_provisioner.controller.workers.door.certificates import is_usable
from model_provisioner.kube.client import KubeApi

NOW = datetime.now(UTC)


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[KubeApi]:
    connected = await KubeApi.connect(cluster.kubeconfig)
    yield connected
    await connected.close()


def secret(api: KubeApi, namespace: str, later: timedelta = timedelta(0)) -> AuthoritySecret:
    return AuthoritySecret(api, namespace, "workers-ca", lambda: NOW + later)


async def test_an_authority_is_made_once_and_replaced_before_it_ends(api: KubeApi, namespace: str) -> None:
    made = await secret(api, namespace).authority()
    assert is_usable(made, NOW)
    assert await secret(api, namespace, timedelta(days=270)).authority() == made
    later = await secret(api, namespace, timedelta(days=280)).authority()
    assert later != made
    assert is_usable(later, NOW + timedelta(days=280))
    assert await secret(api, namespace, timedelta(days=280)).authority() == later


CHANGES: dict[str, dict[str, Any]] = {
    "emptied": {"data": None},
    "one key": {"data": {"ca.key": None}},
    "malformed": {"stringData": {"ca.crt": "nothing", "ca.key": "-----BEGIN PRIVATE KEY-----\nx\n"}},
    "foreign": {"data": None, "stringData": {"tls.crt": "of another program"}},
    "not text": {"data": {"ca.crt": base64.b64encode(b"\xff\x00").decode()}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_what_is_no_authority_is_replaced(
    api: KubeApi, cluster: Cluster, namespace: str, change: dict[str, Any]
) -> None:
    before = await secret(api, namespace).authority()
    path = f"/api/v1/namespaces/{namespace}/secrets/workers-ca"
    cluster.api.merge(path, change)
    made = await secret(api, namespace).authority()
    assert made != before
    assert is_usable(made, NOW)
    kept = cluster.api.get(path)["data"]
    assert base64.b64decode(kept["ca.crt"]) == made.certificate
    assert ("tls.crt" in kept) is ("tls.crt" in str(change)), "what else is there stays"
