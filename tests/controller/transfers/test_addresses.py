"""The operator answers a worker's question for an address: once at one time, also with an error, never twice."""

import asyncio

import pytest

from model_provisioner.controller.transfers.addresses import FetchAddresses
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import RateLimited
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.domain.store.holders import Holder
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.worker_protocol.messages import AddressGiven, AddressWanted, Failure, Fetch, Locate

FILE = PlannedFile("s3/h/b/m.gguf", 1, None, "s3:b/m.gguf", None, "https://h", signed=True)
CREDENTIALS = Credentials("canary", ("https://h",))
REQUEST = Fetch(
    "7", StoreRef("/volume", None), Holder("u", "n", "m"), Plan("s3://b/m.gguf", None, (FILE,)), 1, None, 1, CREDENTIALS
)


class Source:
    """Answers when `go` is set; `asked` has the questions."""

    def __init__(self, answer: Address | Exception) -> None:
        self.answer = answer
        self.asked: list[Locate] = []
        self.go = asyncio.Event()

    async def ask(self, question: Locate) -> Address:
        self.asked.append(question)
        await self.go.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_the_source_is_asked_once_with_the_credentials_of_the_fetch() -> None:
    source, given = Source(Address("https://h/m?sig=canary")), list[AddressGiven]()
    addresses = FetchAddresses(REQUEST, source.ask, given.append)
    for path in (FILE.path, FILE.path, "hf/of/another/plan.gguf"):
        addresses.on_wanted(AddressWanted("7", path))
    await asyncio.sleep(0)
    (question,) = source.asked
    assert (question.ref, question.endpoint, question.file, question.credentials) == (
        "s3://b/m.gguf",
        "https://h",
        FILE,
        CREDENTIALS,
    )
    source.go.set()
    await asyncio.sleep(0.01)
    assert given == [AddressGiven("7", FILE.path, Address("https://h/m?sig=canary"))]
    addresses.on_wanted(AddressWanted("7", FILE.path))
    await asyncio.sleep(0.01)
    assert len(source.asked) == len(given) == 2
    assert "canary" not in repr(given) + repr(source.asked)


async def test_an_error_of_the_source_reaches_the_worker() -> None:
    source, given = Source(RateLimited("slow down", 3.0)), list[AddressGiven]()
    source.go.set()
    addresses = FetchAddresses(REQUEST, source.ask, given.append)
    addresses.on_wanted(AddressWanted("7", FILE.path))
    await asyncio.sleep(0.01)
    assert given == [AddressGiven("7", FILE.path, None, Failure("RateLimited", "slow down", 3.0))]


async def test_a_worker_that_asks_without_an_end_is_slowed() -> None:
    source, given, pauses = Source(Address("https://h/m")), asyncio.Queue[AddressGiven](), list[float]()
    source.go.set()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    addresses = FetchAddresses(REQUEST, source.ask, given.put_nowait, sleep, lambda: 0.0)
    for _ in range(100):
        addresses.on_wanted(AddressWanted("7", FILE.path))
        await given.get()
    assert pauses == [pytest.approx(number) for number in range(1, 90)]


async def test_a_fetch_that_has_ended_asks_nothing_more() -> None:
    source, given = Source(Address("https://h/m")), list[AddressGiven]()
    addresses = FetchAddresses(REQUEST, source.ask, given.append)
    addresses.on_wanted(AddressWanted("7", FILE.path))
    await asyncio.sleep(0)
    await addresses.stop()
    source.go.set()
    await asyncio.sleep(0.01)
    assert given == []
