"""The certificate of the door from a Secret of a real API server: read, renewed, refused, and seen over real TLS."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme

from deploy.local.cluster import Cluster
from model_provisioner.controller.workers.door.door_tls import Identity
from model_provisioner.controller.workers.door.given_secret import GivenSecret, UnusableSecretError
from model_provisioner.controller.workers.pod_pool import PodPool
from model_provisioner.controller.workers.pod_service import PodService
from model_provisioner.controller.workers.pods.giving_way import GivingWay
from model_provisioner.controller.workers.pods.job_client import JobClient, WorkerJob
from model_provisioner.controller.workers.pods.places import Places
from model_provisioner.kube.client import KubeApi
from tests.support.programs import free_port

NAME = "mp-workers.ai.svc"
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
Data = dict[str, bytes]
Make = Callable[[trustme.CA], Data]


def data(authority: trustme.CA, *names: str, **of_certificate: Any) -> Data:
    """As cert-manager writes it."""
    issued = authority.issue_cert(*(names or (NAME,)), **of_certificate)
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    return {"tls.crt": chain, "tls.key": issued.private_key_pem.bytes(), "ca.crt": authority.cert_pem.bytes()}


class Secret:
    """The Secret `door`, which a test changes, and its reader."""

    def __init__(self, cluster: Cluster, api: KubeApi, namespace: str) -> None:
        self._api = cluster.api
        self._collection = f"/api/v1/namespaces/{namespace}/secrets"
        self.full_name = f"{namespace}/door"
        self.given = GivenSecret(api, namespace, "door", NAME)

    def create(self, content: Data) -> None:
        body = {"metadata": {"name": "door"}, "type": "Opaque", "data": _encoded(content)}
        self._api.create(self._collection, body)

    def replace(self, content: Data) -> None:
        self._api.merge(f"{self._collection}/door", {"data": _encoded(content)})


def _encoded(content: Data) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in content.items()}


@pytest.fixture
async def secret(cluster: Cluster, namespace: str) -> AsyncIterator[Secret]:
    api = await KubeApi.connect(cluster.kubeconfig)
    yield Secret(cluster, api, namespace)
    await api.close()


def without(key: str) -> Make:
    return lambda authority: {name: part for name, part in data(authority).items() if name != key}


def replaced(**parts: bytes) -> Make:
    return lambda authority: {**data(authority), **{name.replace("_", "."): part for name, part in parts.items()}}


def of_another_key(authority: trustme.CA) -> Data:
    return {**data(authority), "tls.key": data(authority)["tls.key"]}


def of_another_authority(authority: trustme.CA) -> Data:
    return {**data(authority), "ca.crt": trustme.CA().cert_pem.bytes()}


UNUSABLE: dict[str, tuple[Make, str]] = {
    "no certificate": (without("tls.crt"), "has no tls.crt; it must be one of type kubernetes.io/tls"),
    "no key": (without("tls.key"), "has no tls.key"),
    "no authority": (without("ca.crt"), "has no ca.crt; the issuer of the Certificate must be one that tells"),
    "empty authority": (replaced(ca_crt=b"\n"), "has no ca.crt"),
    "authority in no PEM": (replaced(ca_crt=b"authority"), "ca.crt certificates, all in PEM"),
    "authority in no ASCII": (replaced(ca_crt="\N{SNOWMAN}".encode()), "ca.crt certificates, all in PEM"),
    "huge authority": (replaced(ca_crt=b"#" * 200_000), "more than 128 KiB in ca.crt"),
    "certificate in no PEM": (replaced(tls_crt=b"certificate"), "must be a certificate and its key"),
    "another key": (of_another_key, "KEY_VALUES_MISMATCH"),
    "another authority": (of_another_authority, "unable to get local issuer certificate"),
    "another name": (lambda authority: data(authority, "mp.ml.svc"), f"refuse its certificate for {NAME} (Hostname"),
    "over": (lambda authority: data(authority, not_after=YESTERDAY), "certificate has expired"),
    "not yet": (
        lambda authority: data(
            authority, not_before=YESTERDAY + timedelta(days=9), not_after=YESTERDAY + timedelta(days=99)
        ),
        "certificate is not yet valid",
    ),
}


@pytest.mark.parametrize(("make", "says"), UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_what_is_wrong_with_a_secret_is_told(secret: Secret, make: Make, says: str) -> None:
    content = make(trustme.CA())
    secret.create(content)
    with pytest.raises(UnusableSecretError) as raised:
        await secret.given.identity()
    message = str(raised.value)
    assert message.startswith(f"Secret {secret.full_name} of workers.tlsSecretName ")
    assert says in message
    assert "PRIVATE KEY" not in message


async def test_a_secret_that_does_not_exist_is_told(secret: Secret) -> None:
    with pytest.raises(UnusableSecretError, match=r"door of workers.tlsSecretName does not exist; create it"):
        await secret.given.identity()


async def test_the_certificate_before_is_kept_while_it_is_right(
    secret: Secret, caplog: pytest.LogCaptureFixture
) -> None:
    content = data(trustme.CA())
    secret.create(content)
    first = await secret.given.identity()
    assert first == Identity(content["tls.crt"], content["tls.key"], content["ca.crt"])
    secret.replace({"tls.key": b"half written"})
    assert await secret.given.identity() == first
    assert await secret.given.identity() == first
    told = [record.getMessage() for record in caplog.records if "keeps the certificate before" in record.getMessage()]
    assert len(told) == 1, "it is told once"
    renewed = data(trustme.CA())
    secret.replace(renewed)
    assert (await secret.given.identity()).authority == renewed["ca.crt"]


class Jobs(JobClient):
    """There are no Jobs. What new ones are told to trust is kept."""

    def __init__(self) -> None:  # without an API
        self.told: list[tuple[bytes | None, str]] = []

    def trust(self, authority: bytes | None, problem: str = "") -> None:
        self.told.append((authority, problem))

    async def find_all(self, namespaces: Iterable[str]) -> list[WorkerJob]:
        return []


class Door:
    """A door on loopback; it looks at the Secret again when the test says so."""

    def __init__(self, secret: Secret, jobs: Jobs) -> None:
        self._again = asyncio.Queue[None]()
        self._looked = asyncio.Event()
        self._address = f"127.0.0.1:{free_port()}"
        pool = PodPool(jobs, Places(1, 1), NoPods(), epoch=1)
        self._service = PodService(secret.given, jobs, pool, self._address, 1, self._sleep)

    async def _sleep(self, _: float) -> None:
        self._looked.set()
        await self._again.get()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as closing:
            await self._service.start(closing, ["team"])
            running = asyncio.create_task(self._service.run())
            await self._looked.wait()
            yield
            running.cancel()
            await asyncio.wait({running})

    async def look(self) -> None:
        self._looked.clear()
        self._again.put_nowait(None)
        await self._looked.wait()

    async def shake_hands(self, authority: bytes) -> asyncio.StreamWriter:
        """As a worker pod that trusts `authority`. Raises ssl.SSLError."""
        trust = ssl.create_default_context(cadata=authority.decode())
        host, _, port = self._address.partition(":")
        _, writer = await asyncio.open_connection(host, int(port), ssl=trust, server_hostname=NAME)
        return writer


class NoPods(GivingWay):
    """No pod waits for a claim."""

    def __init__(self) -> None:  # without an API
        pass

    async def find(self, idle: Iterable[WorkerJob]) -> dict[WorkerJob, str]:
        return {}


async def test_a_renewed_certificate_is_shown_and_its_authority_goes_into_new_jobs(secret: Secret) -> None:
    old, new = data(trustme.CA()), data(trustme.CA())
    secret.create(old)
    jobs = Jobs()
    door = Door(secret, jobs)
    async with door.opened(), asyncio.timeout(60):
        connected = await door.shake_hands(old["ca.crt"])
        secret.replace(new)
        await door.look()
        (await door.shake_hands(new["ca.crt"])).close()
        with pytest.raises(ssl.SSLCertVerificationError):
            await door.shake_hands(old["ca.crt"])
        assert not connected.is_closing(), "a pod that is connected stays"
        connected.close()
    assert jobs.told == [(old["ca.crt"], ""), (new["ca.crt"], "")]


async def test_a_door_without_a_certificate_opens_and_has_one_when_the_secret_is_there(secret: Secret) -> None:
    jobs = Jobs()
    door = Door(secret, jobs)
    async with door.opened(), asyncio.timeout(60):
        ((authority, problem),) = jobs.told
        assert authority is None
        assert problem.endswith("of workers.tlsSecretName does not exist; create it, or its Certificate")
        content = data(trustme.CA())
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await door.shake_hands(content["ca.crt"])
        secret.create(content)
        await door.look()
        (await door.shake_hands(content["ca.crt"])).close()
