"""The operator's own token is replaced while it runs: kopf and our own client continue with the new one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kubernetes.aio.config import incluster_config

from deploy.local.api import ApiError
from deploy.local.cluster import Cluster
from model_provisioner.controller.process.login import Login
from model_provisioner.kube.client import KubeApi
from tests.faults.campaign import LONG
from tests.support.api_proxy import ApiProxy, Asked, kopfs_watch
from tests.support.kubelet import Kubelet
from tests.support.programs import eventually
from tests.support.stand import Stand
from tests.support.tokens import expiring

ACCOUNT = "the-operator"
ANYTHING_HERE = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
LONG_ENOUGH_TO_START_SECONDS = 25.0


class Account:
    """A service account, and the file at which its token is mounted."""

    def __init__(self, cluster: Cluster, namespace: str, file: Path) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self.file = file
        cluster.grant(namespace, ACCOUNT, ANYTHING_HERE)
        self.write_token()

    def write_token(self) -> str:
        return self._write(self._cluster.token(self._namespace, ACCOUNT))

    def write_expiring_token(self, seconds: float) -> str:
        key = self._cluster.directory / "pki" / "accounts.key"
        return self._write(expiring(self._cluster.token(self._namespace, ACCOUNT), key, seconds))

    def _write(self, token: str) -> str:
        """Replaces the file, as a kubelet does: the operator never reads one that is empty or half written."""
        new = self.file.with_name("token.new")
        new.write_text(token)
        new.rename(self.file)
        return token

    @contextmanager
    def revoked(self, proxy: ApiProxy) -> Iterator[str]:
        """Every token issued so far is refused, although the rights stay. Yields the last one.

        An API server caches its answer about a token for 10 s, so the proxy refuses the token instead, unless LONG.
        """
        old = self.file.read_text()
        if not LONG:
            with proxy.answering(401, lambda asked: asked.token == old):
                yield old
            return
        self._cluster.api.delete(f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{ACCOUNT}")
        self._cluster.create_service_account(self._namespace, ACCOUNT)
        eventually(lambda: self.is_refused(old), "the API server has forgotten that the token was good")
        yield old

    def is_refused(self, token: str) -> bool:
        """Whether the API server itself refuses the token, without the proxy."""
        anonymous = self._cluster.anonymous()
        api = type(anonymous)(anonymous.url, anonymous.tls, token)
        try:
            api.get(f"/api/v1/namespaces/{self._namespace}/configmaps")
        except ApiError as error:
            return error.code == 401
        return False


@pytest.fixture
def account(cluster: Cluster, namespace: str, tmp_path: Path) -> Account:
    return Account(cluster, namespace, tmp_path / "token")


def own_clients(asked: Asked) -> bool:
    return not asked.is_kopfs


def leases(asked: Asked) -> bool:
    return asked.is_for_the_lease


def kopfs(asked: Asked) -> bool:
    return asked.is_kopfs


def refused(proxy: ApiProxy, which: Callable[[Asked], bool]) -> bool:
    return any(status == 401 and which(asked) for asked, status in list(proxy.answers))


def test_an_operator_whose_token_was_refused_goes_on_with_the_next_one(
    bench: Stand, cluster: Cluster, account: Account, tmp_path: Path
) -> None:
    with ApiProxy(cluster) as proxy:
        config = proxy.kubeconfig(tmp_path / "config", {"tokenFile": str(account.file)})
        with Kubelet(bench, f"--kubeconfig={config}") as kubelet:
            bench.apply("before", modelRef="hf:acme/tiny", reclaimPolicy="Delete")
            bench.until("before", "Available")
            with account.revoked(proxy) as old:
                proxy.cut()
                eventually(lambda: refused(proxy, own_clients), "our own client is refused")
                eventually(lambda: refused(proxy, kopfs), "kopf is refused")
                token, since = account.write_token(), len(proxy.log)
                bench.apply("after", modelRef="hf:acme/tiny:Q8_0")
                bench.until("after", "Available")
                bench.delete("before")
                bench.until_gone("before")
            assert kubelet.exits == []
        assert token in {asked.token for asked in proxy.log[since:]} <= {token, old}


def test_an_operator_whose_token_has_expired_goes_on_with_the_next_one(
    bench: Stand, cluster: Cluster, account: Account, tmp_path: Path
) -> None:
    """The next token is written before the first one expires, as by a kubelet."""
    with ApiProxy(cluster) as proxy:
        config = proxy.kubeconfig(tmp_path / "config", {"tokenFile": str(account.file)})
        old = account.write_expiring_token(LONG_ENOUGH_TO_START_SECONDS)
        with Kubelet(bench, f"--kubeconfig={config}") as kubelet:
            bench.apply("before", modelRef="hf:acme/tiny", reclaimPolicy="Delete")
            bench.until("before", "Available")
            token = account.write_token()
            eventually(lambda: account.is_refused(old), "the first one has expired", LONG_ENOUGH_TO_START_SECONDS + 30)
            proxy.cut()
            eventually(lambda: refused(proxy, own_clients), "our own client is refused")
            eventually(lambda: refused(proxy, kopfs), "kopf is refused")
            bench.apply("after", modelRef="hf:acme/tiny:Q8_0")
            bench.until("after", "Available")
            bench.delete("before")
            bench.until_gone("before")
            eventually(lambda: [one for one in proxy.asked(leases) if one.token == token], "the Lease is renewed")
            assert kubelet.exits == []
        assert {asked.token for asked in proxy.log} == {old, token}


def test_kopf_alone_is_refused_and_takes_the_token_that_is_in_the_file(
    bench: Stand, cluster: Cluster, account: Account, tmp_path: Path
) -> None:
    """Then no request of our own client reads the new token."""
    with ApiProxy(cluster) as proxy:
        config = proxy.kubeconfig(tmp_path / "config", {"tokenFile": str(account.file)})
        with Kubelet(bench, f"--kubeconfig={config}"):
            bench.apply("before", modelRef="hf:acme/tiny")
            bench.until("before", "Available")
            old, token = account.file.read_text(), account.write_token()
            with proxy.answering(401, lambda asked: asked.is_kopfs and asked.token == old) as refusal:
                proxy.cut(kopfs_watch)
                eventually(lambda: [one for one in proxy.asked(kopfs_watch) if one.token == token], "kopf has it")
            assert refusal.hits == 1


@contextmanager
def in_a_pod(cluster: Cluster, account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment from which the official client reads its configuration in a pod."""
    host, _, port = cluster.url.removeprefix("https://").rpartition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(account.file))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(cluster.ca))
    yield


async def test_in_a_pod_kopf_is_given_the_token_that_is_mounted_now(
    cluster: Cluster, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The official client reads the file once a minute; after a refusal, kopf must not wait so long."""
    with in_a_pod(cluster, account, monkeypatch):
        api = await KubeApi.connect()
        token = account.write_token()
        assert (await Login(api)()).token == token
        await api.close()
