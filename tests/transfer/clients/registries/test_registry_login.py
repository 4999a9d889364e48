"""Logins of requests that run in parallel: one for all of them, and earlier tokens stay secret."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from model_provisioner.domain.credentials.credentials import Credentials, RegistryLogin
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.store.digest import Digest
from model_provisioner.transfer.clients.registries.registry import RegistryClient
from model_provisioner.transfer.clients.registries.registry_replies import Registry
from model_provisioner.transfer.http.client import Client, open_client
from tests.support.registry import GGUF, sha256
from tests.transfer.sources.token_registry import TokenRegistry, token_registry
from tests.transfer.sources.web import SETTINGS

CONTENT = b"Be brief."
DIGEST = Digest.parse(sha256(CONTENT))
Running = tuple[TokenRegistry, Client]


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(token_registry())
        hub.add("v1", CONTENT, GGUF)
        yield hub, await stack.enter_async_context(open_client(SETTINGS))


def client_of(running: Running, credentials: Credentials | None = None) -> RegistryClient:
    hub, client = running
    return RegistryClient(client, Registry(hub.url, Origin.of(hub.url), "team/tiny", "oci://x"), credentials)


async def read_three(client: RegistryClient) -> list[bytes]:
    return await asyncio.gather(*(client.checked_blob(DIGEST, "the system") for _ in range(3)))


async def test_parallel_requests_whose_token_has_expired_log_in_once(running: Running) -> None:
    hub, client = running[0], client_of(running)
    hub.uses = 1
    await client.manifest("v1")
    hub.uses = 10**9
    assert await read_three(client) == [CONTENT] * 3
    assert hub.asked_tokens == 2


async def test_parallel_first_requests_log_in_once_with_a_password_too(running: Running) -> None:
    """A password does not expire, so that a second refusal of it would be final."""
    hub = running[0]
    hub.login, hub.basic = ("robot", "canary"), True
    client = client_of(running, Credentials(None, (hub.url,), logins=(RegistryLogin(hub.url, "robot", "canary"),)))
    assert await read_three(client) == [CONTENT] * 3


async def test_tokens_that_were_replaced_stay_secret(running: Running) -> None:
    hub, client = running[0], client_of(running)
    hub.uses = 1
    for _ in range(3):
        await client.manifest("v1")
    assert client.secrets == tuple(f"canary-token-{number:06}" for number in (2, 1, 0))
    for _ in range(20):
        await client.manifest("v1")
    assert len(client.secrets) == 8
