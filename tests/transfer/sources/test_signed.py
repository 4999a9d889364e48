"""Addresses that a source is asked for: once for all connections, again when they expire, and never from a worker."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aiohttp import web

from model_provisioner.domain.errors import AccessDenied, ProvisionError, RateLimited, SourceUnavailable
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Pin, Plan, PlannedFile
from model_provisioner.worker_protocol.messages import (
    AddressGiven,
    AddressWanted,
    FailedAnswer,
    Failure,
    Fetch,
    Published,
    Settle,
    Settled,
)
from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub
from tests.transfer.bench import HOLDER
from tests.transfer.sources.web import Fetcher, FileServer, fetcher, serving, sha256
from tests.transfer.worker_process import worker_process

CANARY = "canary-0123456789abcdef"
MODEL = tiny_gguf(size=24 * 1024 * 1024)


@dataclass
class Signer:
    """A source that hands out addresses with a bearer token, each valid for `seconds` or for `uses` requests."""

    server: FileServer
    seconds: float | None = None
    uses: int = 10**9
    asked: int = 0
    left: dict[str, int] = field(default_factory=dict)
    redirect: str | None = None

    async def address(self, _: PlannedFile) -> Address:
        self.asked += 1
        await asyncio.sleep(0.01)  # so that other connections ask meanwhile
        token = f"Bearer {CANARY}-{self.asked}"
        self.left[token] = self.uses
        expires = None if self.seconds is None else time.time() + self.seconds
        return Address(f"{self.server.url}/blob", {"Authorization": token}, expires)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        token = request.headers.get("Authorization", "")
        if not self.left.get(token):
            return web.Response(status=401)
        self.left[token] -= 1
        if self.redirect:
            return web.Response(status=307, headers={"Location": self.redirect})
        return await FileServer.answer(self.server, request)


Signed = tuple[Signer, Fetcher]


@pytest.fixture
async def signed(tmp_path: Path) -> AsyncIterator[Signed]:
    async with AsyncExitStack() as stack:
        server = FileServer(MODEL)
        signer = Signer(server)
        server.answer = signer.answer  # type: ignore[method-assign] # the signer stands before it
        await stack.enter_async_context(serving(server))
        yield signer, await stack.enter_async_context(fetcher(tmp_path / "volume"))


def plan(pin: Pin | None = None, *, known: bool = True) -> Plan:
    digest = Digest.parse(sha256(MODEL)) if known else None
    file = PlannedFile(
        "s3/host/b/m.gguf", len(MODEL), digest, "s3:b/m.gguf", None, "https://host", signed=True, pin=pin
    )
    return Plan("s3://b/m.gguf", None, (file,))


async def test_one_address_serves_all_connections(signed: Signed) -> None:
    signer, fetch = signed
    provided = await fetch.transfer(plan(), connections=8, addresses=signer.address)
    assert fetch.content(provided) == MODEL
    assert signer.asked == 1


async def test_an_address_that_is_refused_is_asked_for_again_and_no_byte_is_sent_twice(signed: Signed) -> None:
    signer, fetch = signed
    signer.uses = 2
    provided = await fetch.transfer(plan(), connections=4, addresses=signer.address)
    assert fetch.content(provided) == MODEL
    assert signer.asked > 1
    assert provided.received == signer.server.sent == len(MODEL)


async def test_an_address_is_asked_for_again_before_it_expires(signed: Signed) -> None:
    signer, fetch = signed
    signer.seconds = -1  # has expired already when it is received
    provided = await fetch.transfer(plan(), addresses=signer.address)
    assert fetch.content(provided) == MODEL
    assert signer.asked == len(signer.server.log)


async def test_a_fresh_address_that_is_refused_is_an_error_in_words(signed: Signed) -> None:
    signer, fetch = signed
    signer.uses = 0
    with pytest.raises(AccessDenied) as caught:
        await fetch.transfer(plan(), addresses=signer.address)
    assert CANARY not in caught.value.message


async def test_the_token_of_an_address_goes_to_its_own_origin_only(signed: Signed) -> None:
    signer, fetch = signed
    async with serving(FileServer(MODEL)) as content:
        signer.redirect = f"{content.url.replace('127.0.0.1', 'localhost')}/signed?sig={CANARY}"
        provided = await fetch.transfer(plan(), connections=4, addresses=signer.address)
    assert fetch.content(provided) == MODEL
    assert signer.asked == 1
    assert not [request for request in content.log if "Authorization" in request.headers]


async def test_if_match_is_sent_with_every_range_and_a_change_ends_the_transfer(signed: Signed) -> None:
    signer, fetch = signed
    pinned = plan(Pin("If-Match", '"v1"'), known=False)
    signer.server.changed, signer.server.change_after = FileServer(MODEL, '"v2"'), 1
    with pytest.raises(SourceUnavailable, match="has changed at its source"):
        await fetch.transfer(pinned, addresses=signer.address)
    assert {request.headers["If-Match"] for request in signer.server.log} == {'"v1"'}


@pytest.mark.parametrize("error", [RateLimited("slow down", 5), AccessDenied("no", wants_token=True)])
async def test_the_error_of_a_source_is_that_of_the_transfer(signed: Signed, error: ProvisionError) -> None:
    _, fetch = signed

    async def refuse(_: PlannedFile) -> Address:
        raise error

    with pytest.raises(type(error), match=error.message):
        await fetch.transfer(plan(), addresses=refuse)


async def test_a_worker_asks_the_operator_and_shows_no_address(signed: Signed, hub: Hub) -> None:
    signer, fetch = signed
    with worker_process(hub) as worker:
        store = StoreRef(str(fetch.root), None)
        settled = await asyncio.to_thread(worker.ask, Settle("1", store, HOLDER, plan()))
        assert isinstance(settled, Settled)
        store = StoreRef(str(fetch.root), settled.store_id)
        worker.send(Fetch("2", store, HOLDER, settled.plan, 4, None, 1))
        path = settled.plan.files[0].path
        assert await asyncio.to_thread(worker.answer) == AddressWanted("2", path)
        worker.send(AddressGiven("other", path, None))
        worker.send(AddressGiven("2", "another path", None))
        worker.send(AddressGiven("2", path, await signer.address(settled.plan.files[0])))
        answer = await asyncio.to_thread(worker.answer)
        assert isinstance(answer, Published)
        worker.send(Fetch("3", store, HOLDER, _elsewhere(settled.plan), 4, None, 1))
        wanted = await asyncio.to_thread(worker.answer)
        assert isinstance(wanted, AddressWanted)
        worker.send(AddressGiven("3", wanted.path, None, Failure.of(AccessDenied("no access"))))
        failed = await asyncio.to_thread(worker.answer)
        assert isinstance(failed, FailedAnswer)
        assert (failed.reason, failed.message) == ("AccessDenied", "no access")
    kept = [one.read_bytes() for one in fetch.root.rglob("*") if one.is_file()]
    assert not [one for one in kept if CANARY.encode() in one]


def _elsewhere(found: Plan) -> Plan:
    return replace(found, files=(replace(found.files[0], path="s3/host/b/other.gguf"),))
