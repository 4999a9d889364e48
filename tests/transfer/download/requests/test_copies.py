"""How a worker pod asks the operator for a file: of its certificate, its address and its answers."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from model_provisioner.controller.workers.door.certificates import issue, new_authority
from model_provisioner.controller.workers.door.door_tls import load, server_context
from model_provisioner.domain.errors import AddressNotAllowed, ProvisionError, SourceUnavailable, TLSVerificationFailed
from model_provisioner.domain.refusals.hub_errors import HubRequest
from model_provisioner.domain.store.plan import PlannedFile
from model_provisioner.http_server.limits import Limits
from model_provisioner.http_server.server import HttpServer
from model_provisioner.transfer.download.requests.copies import COPY_ERRORS, Copies, CopyPlace, CopyRefused, copy_error
from model_provisioner.transfer.http.client import Client, NetworkSettings, open_client
from model_provisioner.worker_protocol.channel import SERVER_NAME
from model_provisioner.worker_protocol.copies import FILES_PATH, Copy, DoorAddress
from tests.support.models import sample

NOW = datetime.now(UTC)
FILE = sample().planned
GRANT, TOKEN = "a-grant", "a-token"


@dataclass
class Operator:
    """A door that answers each request with `location` if there is one. `asked` are the requests that came."""

    files: Path
    port: int = 0
    location: str = ""
    asked: list[tuple[str, str, str]] | None = None

    async def handle(self, request: web.Request) -> web.Response:
        assert self.asked is not None
        self.asked.append((request.path, request.query["job"], request.headers.get("Authorization", "")))
        if self.location:
            return web.Response(status=302, headers={"Location": self.location})
        return web.Response(status=206, body=b"GGUF")

    def place(self, client: Client, file: PlannedFile = FILE) -> CopyPlace | None:
        door = DoorAddress(f"127.0.0.1:{self.port}", "team/job", str(self.files), SERVER_NAME)
        return Copies((Copy(FILE.path, GRANT),), door).place(file, client)


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operator]:
    made, authority, context = Operator(tmp_path, asked=[]), new_authority(NOW), server_context()
    load(context, issue(authority, NOW))
    (tmp_path / "ca.crt").write_bytes(authority.certificate)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    app = web.Application()
    app.add_routes([web.get(FILES_PATH + "/{grant}", made.handle)])
    server = HttpServer(app, Limits(connections=10), context, shutdown_seconds=0.1)
    await server.start("127.0.0.1:0", "--worker-listen")
    made.port = server.port
    yield made
    await server.close()


async def opened(operator: Operator, client: Client) -> bytes:
    place = operator.place(client)
    assert place
    async with (await place.open({"Range": "bytes=0-3"}, lambda _: None)).reply as reply:
        return await reply.read()


async def test_the_operator_is_asked_with_the_grant_and_the_token(operator: Operator) -> None:
    async with open_client(NetworkSettings()) as client:
        assert await opened(operator, client) == b"GGUF"
        assert operator.place(client, sample("hf/acme/other.gguf").planned) is None, "of another file nothing was said"
        place = operator.place(client)
        assert place
        (await place.open({}, lambda _: None)).reply.close()
        assert set(place.secrets) == {GRANT, TOKEN}
    assert operator.asked == [(f"{FILES_PATH}/{GRANT}", "team/job", f"Bearer {TOKEN}")] * 2


async def test_the_client_of_copies_reaches_nothing_else_and_no_other_client_reaches_the_operator(
    operator: Operator,
) -> None:
    async with open_client(NetworkSettings()) as client:
        assert await opened(operator, client) == b"GGUF"
        for location in (f"https://127.0.0.1:{operator.port}/", "https://example.com/", f"https://{SERVER_NAME}:1/"):
            operator.location = location
            with pytest.raises(AddressNotAllowed):
                await opened(operator, client)
        asked = len(operator.asked or ())
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(AddressNotAllowed):
                await client.get(f"https://{host}:{operator.port}{FILES_PATH}/{GRANT}?job=team/job", {}, None)
        with pytest.raises(ProvisionError):  # it is no name that DNS knows, and no connection is used for it again
            await client.get(f"https://{SERVER_NAME}:{operator.port}{FILES_PATH}/{GRANT}?job=team/job", {}, None)
        assert len(operator.asked or ()) == asked


async def test_another_operator_is_not_believed(operator: Operator) -> None:
    (operator.files / "ca.crt").write_bytes(new_authority(NOW).certificate)
    async with open_client(NetworkSettings()) as client:
        with pytest.raises(TLSVerificationFailed):
            await opened(operator, client)
    assert operator.asked == []


async def test_a_pod_without_its_token_asks_the_source(operator: Operator) -> None:
    (operator.files / "token").unlink()
    async with open_client(NetworkSettings()) as client:
        with pytest.raises(CopyRefused):
            await opened(operator, client)


@pytest.mark.parametrize(
    ("status", "kind"), [(404, CopyRefused), (401, CopyRefused), (416, CopyRefused), (503, SourceUnavailable)]
)
def test_only_a_busy_operator_is_asked_again(status: int, kind: type[ProvisionError]) -> None:
    error = copy_error(status, {"Retry-After": "5"}, HubRequest("hf:acme/tiny", "https://x", True), 0.0)
    assert type(error) is kind
    assert isinstance(error, COPY_ERRORS)
