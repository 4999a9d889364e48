"""A server on loopback that answers each path as a test says, and records which requests had a credential."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass
class Host:
    """A server that answers each path by `answers` (status, headers, body), others with 404; `seen` has each path, and
    whether a credential came with it."""

    url: str = ""
    answers: dict[str, tuple[int, Mapping[str, str], bytes]] = field(default_factory=dict)
    seen: list[tuple[str, bool]] = field(default_factory=list)

    def redirect(self, path: str, target: str, status: int = 302) -> None:
        self.answers[path] = (status, {"Location": target}, b"")

    @property
    def with_token(self) -> list[str]:
        return [path for path, authorized in self.seen if authorized]

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append((request.path, bool({"Authorization", "Cookie"} & set(request.headers))))
        status, headers, body = self.answers.get(request.path, (404, {}, b""))
        return web.Response(status=status, headers=headers, body=body)


@asynccontextmanager
async def host() -> AsyncIterator[Host]:
    made = Host()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", made.answer)
    async with TestServer(application) as running:
        made.url = str(running.make_url("")).rstrip("/")
        yield made
