"""Redirects that leave a token's origins: no later request of the chain has the token, also not one back to the hub.

Real servers: the hub of the token, a foreign host that chooses where the chain leads, and a second hub of the token.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.download.range_answer import RequestedFile
from model_provisioner.domain.download.ranges import ByteRange
from model_provisioner.domain.errors import AccessDenied, AddressNotAllowed, ProvisionError, UnsupportedSource
from model_provisioner.domain.network.addresses import HostPort, NetworkPolicy
from model_provisioner.transfer.download.requests.place import FixedPlace
from model_provisioner.transfer.download.requests.remote_file import RemoteFile
from model_provisioner.transfer.http.client import Client, NetworkSettings, open_client
from model_provisioner.transfer.sources.resolver import Resolver
from model_provisioner.worker_protocol.messages import Resolve
from tests.transfer.bench import MODEL, NAME, REF
from tests.transfer.scripted_host import Host, host

TOKEN = "hf_canary0123456789"
CHOSEN = "/chosen-by-the-foreign-host"
COMMIT = "c" * 40
LISTED = NetworkSettings(NetworkPolicy(allowed_hosts=(HostPort("127.0.0.1"), HostPort("localhost"))))
PART = {"Content-Range": "bytes 0-3/8", "Content-Type": "application/octet-stream"}


@dataclass
class World:
    hub: Host
    foreign: Host
    second: Host
    client: Client

    @property
    def credentials(self) -> Credentials:
        """A token whose owner trusts both hubs with it."""
        return Credentials(TOKEN, (self.hub.url, self.second.url))

    async def get(self, path: str) -> int:
        async with await self.client.get(f"{self.hub.url}{path}", {}, self.credentials) as reply:
            return reply.status

    async def resolve(self) -> None:
        await Resolver(self.client).resolve(Resolve("1", REF, self.hub.url, credentials=self.credentials))

    def _place(self, path: str) -> FixedPlace:
        return FixedPlace(self.client, f"{self.hub.url}{path}", self.credentials, Clock())

    def file(self, path: str) -> RemoteFile:
        requested = RequestedFile(8, digest_known=True)
        return RemoteFile(self.client, self._place(path), requested, "hf:a/b:file", Clock())


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        hub, foreign, second = [await stack.enter_async_context(host()) for _ in range(3)]
        yield World(hub, foreign, second, await stack.enter_async_context(open_client(LISTED)))


async def read(file: RemoteFile) -> None:
    found = await file.get(ByteRange(0, 4), allow_whole=False, on_request=lambda _: None)
    async with found.reply as reply:
        while await reply.read():
            pass


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_foreign_host_chooses_no_path_that_gets_the_token(world: World, status: int) -> None:
    world.hub.redirect("/start", f"{world.foreign.url}/", status)
    world.foreign.redirect("/", f"{world.hub.url}{CHOSEN}", status)
    world.hub.redirect(CHOSEN, "/further", status)
    await world.get("/start")
    assert world.hub.seen == [("/start", True), (CHOSEN, False), ("/further", False)]
    assert world.foreign.seen == [("/", False)]


async def test_two_hosts_that_are_both_trusted_with_the_token_may_redirect_to_each_other(world: World) -> None:
    world.hub.redirect("/start", f"{world.second.url}/there")
    world.second.redirect("/there", f"{world.hub.url}/back")
    await world.get("/start")
    assert (world.hub.with_token, world.second.with_token) == (["/start", "/back"], ["/there"])


async def test_a_foreign_host_does_not_choose_the_path_at_another_trusted_host(world: World) -> None:
    world.hub.redirect("/start", f"{world.foreign.url}/")
    world.foreign.redirect("/", f"{world.second.url}{CHOSEN}")
    await world.get("/start")
    assert (world.second.seen, world.foreign.with_token) == ([(CHOSEN, False)], [])


async def test_another_name_or_port_of_the_same_machine_is_foreign(world: World) -> None:
    world.hub.redirect("/start", f"{world.hub.url.replace('127.0.0.1', 'localhost')}/other-name")
    await world.get("/start")
    assert world.hub.seen == [("/start", True), ("/other-name", False)]


@pytest.mark.parametrize("user", ["user@", "user:password@", f"{TOKEN}@", ":@"])
async def test_an_address_with_a_user_is_not_followed(world: World, user: str) -> None:
    world.hub.redirect("/start", world.hub.url.replace("//", f"//{user}") + CHOSEN)
    with pytest.raises(AddressNotAllowed) as caught:
        await world.get("/start")
    assert world.hub.seen == [("/start", True)]
    assert TOKEN not in caught.value.message


async def test_the_question_about_a_file_gets_no_token_at_a_path_of_a_foreign_host(world: World) -> None:
    resolve = f"/{NAME}/resolve/{COMMIT}/{MODEL}"
    world.hub.answers[f"/api/models/{NAME}"] = _description(MODEL)
    world.hub.redirect(resolve, f"{world.foreign.url}/")
    world.foreign.redirect("/", f"{world.hub.url}{CHOSEN}")
    with pytest.raises(ProvisionError):
        await world.resolve()
    assert (CHOSEN, False) in world.hub.seen
    assert CHOSEN not in world.hub.with_token


async def test_a_range_gets_no_token_at_a_path_of_a_foreign_host_also_when_it_is_asked_for_again(world: World) -> None:
    world.hub.redirect("/file", f"{world.foreign.url}/")
    world.foreign.redirect("/", f"{world.second.url}{CHOSEN}")
    world.second.answers[CHOSEN] = (206, PART, b"GGUF")
    file = world.file("/file")
    for _ in range(3):
        await read(file)
    assert world.second.seen == [(CHOSEN, False)] * 3
    assert world.hub.seen == [("/file", True)]


async def test_a_content_host_that_is_asked_again_can_not_lead_back_to_the_hub(world: World) -> None:
    world.hub.redirect("/file", f"{world.foreign.url}/content")
    world.foreign.answers["/content"] = (206, PART, b"GGUF")
    file = world.file("/file")
    await read(file)
    world.foreign.redirect("/content", f"{world.hub.url}{CHOSEN}")
    world.hub.answers[CHOSEN] = (206, PART, b"GGUF")
    await read(file)
    assert world.hub.seen == [("/file", True), (CHOSEN, False)]


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refusal_at_the_end_of_such_a_chain_says_why_no_token_was_sent(world: World, status: int) -> None:
    world.hub.redirect("/file", f"{world.foreign.url}/")
    world.foreign.redirect("/", f"{world.hub.url}{CHOSEN}")
    world.hub.answers[CHOSEN] = (status, {}, b"")
    with pytest.raises(AccessDenied, match="redirects by way of another host") as caught:
        await read(world.file("/file"))
    assert "the token was not sent" in caught.value.message


@pytest.mark.parametrize(
    "name", [f"../../../..{CHOSEN}.gguf", f"./..{CHOSEN}.gguf", f"/{CHOSEN}.gguf", "a\\..\\x.gguf"]
)
async def test_a_file_name_from_a_foreign_host_chooses_no_path_of_the_hub(world: World, name: str) -> None:
    world.hub.redirect(f"/api/models/{NAME}", f"{world.foreign.url}/api")
    world.foreign.answers["/api"] = _description(name)
    with pytest.raises(UnsupportedSource, match="can't be stored"):
        await world.resolve()
    assert world.hub.with_token == [f"/api/models/{NAME}"]


def _description(name: str) -> tuple[int, Mapping[str, str], bytes]:
    """A repository with one file of unknown size, so that the hub is asked for its headers."""
    body = json.dumps({"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": name}]}).encode()
    return 200, {"Content-Type": "application/json"}, body
