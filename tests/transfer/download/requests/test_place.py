"""Places whose address the source is asked for: what must not be shown of the addresses."""

from collections.abc import AsyncIterator

import pytest

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.network.file_address import Address
from model_provisioner.transfer.download.requests.place import AskedPlace
from model_provisioner.transfer.http.client import open_client
from tests.transfer.sources.web import SETTINGS, FileServer, serving


@pytest.fixture
async def server() -> AsyncIterator[FileServer]:
    async with serving(FileServer(b"GGUF")) as found:
        yield found


async def test_an_address_that_was_replaced_stays_secret(server: FileServer) -> None:
    """A request to it may still run when the next address is given."""
    given = 0

    async def ask() -> Address:
        nonlocal given
        given += 1
        return Address(f"{server.url}/a.gguf?sig=canary-signature-{given:02}", {"Authorization": "Bearer canary"})

    async with open_client(SETTINGS) as client:
        place = AskedPlace(client, ask, Clock())
        assert place.secrets == ()
        for _ in range(2):
            (await place.open({}, lambda _: None)).reply.close()
        assert set(place.secrets) == {"Bearer canary", "canary-signature-01", "canary-signature-02"}
        for _ in range(20):
            (await place.open({}, lambda _: None)).reply.close()
    assert set(place.secrets) == {"Bearer canary", *(f"canary-signature-{number}" for number in range(15, 23))}
