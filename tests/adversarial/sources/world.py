"""One server that plays each kind of source well, except for one question, and a second host, which must learn nothing.

The tables of wrong answers are in `web`, `s3`, `registries` and `modelscope`; `test_wrong_answers` runs them.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import ProvisionError
from tests.support.ggufs import tiny_gguf
from tests.transfer.sources.web import Fetcher, fetcher

CANARY = "canary-0123456789abcdef"
"""A part of every secret that the sources are asked with."""
MIB = 1024**2
MODEL = tiny_gguf(size=9 * MIB)  # of two ranges
OTHER = tiny_gguf(size=9 * MIB, seed=1)
METADATA_ADDRESS = "http://169.254.169.254/latest/meta-data/iam/security-credentials/"
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass(frozen=True)
class Answer:
    """`{elsewhere}` in a header is the URL of the other host. The body is sent `times` times, if nothing ends it."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview = b""
    times: int = 1

    def saying(self, **headers: str) -> "Answer":
        """The same answer with these headers (`content_range` is Content-Range)."""
        named = {name.replace("_", "-").title(): text for name, text in headers.items()}
        return replace(self, headers={**self.headers, **named})


Behaviour = Callable[[web.Request], Answer]


def ranged(request: web.Request, content: bytes = MODEL, tag: str = '"v1"') -> Answer:
    """What an honest server answers for a file (RFC 9110)."""
    if request.method == "HEAD":
        return Answer(200, {"Content-Length": str(len(content)), "ETag": tag})
    wanted = _RANGE.fullmatch(request.headers.get("Range", ""))
    if request.headers.get("If-Match", tag) != tag:
        return Answer(412)
    if wanted is None or request.headers.get("If-Range", tag) != tag:
        return Answer(200, {"ETag": tag}, memoryview(content))
    start, stop = int(wanted[1]), min(int(wanted[2]) + 1, len(content))
    extent = {"ETag": tag, "Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
    return Answer(206, extent, memoryview(content)[start:stop])


def first_byte(request: web.Request) -> bool:
    """Whether the request is one that learns what a file is."""
    return request.method == "HEAD" or request.headers.get("Range") == "bytes=0-0"


def meanwhile(wrong: Behaviour | Answer) -> Behaviour:
    """Right until the file is known, then `wrong`."""
    return lambda request: ranged(request) if first_byte(request) else answer_of(wrong, request)


def later(wrong: Behaviour | Answer) -> Behaviour:
    """Right for the first range of the file too, then `wrong`."""

    def answer(request: web.Request) -> Answer:
        right = first_byte(request) or request.headers.get("Range", "").startswith("bytes=0-")
        return ranged(request) if right else answer_of(wrong, request)

    return answer


def answer_of(wrong: Behaviour | Answer, request: web.Request) -> Answer:
    return wrong if isinstance(wrong, Answer) else wrong(request)


def to(location: str, status: int = 302) -> Answer:
    return Answer(status, {"Location": location})


def document(value: object, **headers: str) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(value).encode()).saying(**headers)


PAGE = Answer(200, {"Content-Type": "text/html; charset=utf-8"}, b"<!doctype html><title>Sign in</title>" * 40)
ENDLESS = Answer(200, {"Content-Type": "application/json"}, b" " * 64 * 1024, times=1600)
"""100 MiB."""


@dataclass(frozen=True)
class Kind:
    """A kind of source. `ref` has the server's address as {host} or {home}; `endpoint`: whether it is asked there.

    `question` names what a request asks for, `good` answers it well.
    """

    name: str
    ref: str
    credentials: Callable[[str], Credentials]
    question: Callable[[web.Request], str]
    good: Callable[[str, web.Request], Answer]
    endpoint: bool = False


@dataclass(frozen=True)
class Row:
    """`question` is answered with `wrong`; the download ends in `error`, in words that match `says`.

    `elsewhere` is how the other host answers. `ref` is another one than that of the kind. The server
    may get `requests`.
    """

    name: str
    question: str
    wrong: Behaviour | Answer
    error: type[ProvisionError]
    says: str
    elsewhere: Answer = Answer(404)
    ref: str | None = None
    requests: int = 60


Table = tuple[Kind, Sequence[Row]]


@dataclass
class Server:
    """`log` has the address and the headers of each request.

    Answers are those of `behaviour`, with the URLs of the two hosts put in.
    """

    behaviour: Behaviour
    url: str = ""
    elsewhere: str = ""
    log: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.log.append(f"{request.raw_path} {dict(request.headers)}")
        told = self.behaviour(request)
        headers = {
            name: text.replace("{elsewhere}", self.elsewhere).replace("{home}", self.url)
            for name, text in told.headers.items()
        }
        if told.times == 1:
            return web.Response(status=told.status, headers=headers, body=told.body)
        response = web.StreamResponse(status=told.status, headers=headers)
        await response.prepare(request)
        for _ in range(told.times):
            await response.write(told.body)
        return response


@dataclass
class World:
    kind: Kind
    row: Row
    home: Server
    elsewhere: Server
    fetch: Fetcher

    async def download(self) -> None:
        """Resolves and fetches, as the operator does."""
        url = self.home.url
        ref = (self.row.ref or self.kind.ref).format(home=url, host=url.removeprefix("http://"))
        mine = self.kind.credentials(url)
        plan = await self.fetch.resolve(ref, mine, endpoint=url if self.kind.endpoint else None)
        await self.fetch.transfer(plan, mine)


@asynccontextmanager
async def world(kind: Kind, row: Row, root: Path) -> AsyncIterator[World]:
    def behaviour(request: web.Request) -> Answer:
        question = kind.question(request)
        return answer_of(row.wrong, request) if question == row.question else kind.good(question, request)

    async with AsyncExitStack() as stack:
        home, elsewhere = Server(behaviour), Server(lambda _: row.elsewhere)
        elsewhere.url = home.elsewhere = await _start(stack, elsewhere, "localhost")
        home.url = await _start(stack, home, "127.0.0.1")
        fetch = await stack.enter_async_context(fetcher(root))
        fetch.clock = leaping_clock()
        yield World(kind, row, home, elsewhere, fetch)


def leaping_clock() -> Clock:
    """A clock that leaps over each pause: a source that refuses is given up after a quarter of an hour."""
    leapt = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal leapt
        if seconds != 1.0:  # that of the watch over all connections
            leapt += seconds
        await asyncio.sleep(0.01)

    return Clock(monotonic=lambda: time.monotonic() + leapt, sleep=sleep)


async def _start(stack: AsyncExitStack, server: Server, host: str) -> str:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    url = (await stack.enter_async_context(TestServer(application))).make_url("")
    return str(url.with_host(host)).rstrip("/")
