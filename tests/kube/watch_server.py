"""A small HTTP server with scripted lists and watches, for failures that a real API server rarely shows."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

Document = dict[str, Any]
ABORT = b"abort"


def item(name: str, version: int) -> Document:
    return {"metadata": {"name": name, "namespace": "n", "uid": f"uid-{name}", "resourceVersion": str(version)}}


class WatchServer:
    """Answers each list and each watch with the next entry of its script; the last entry is repeated.

    A watch is a list of events, or of bytes as they are; `None` in it keeps the connection open and silent. An int
    is an HTTP status, which comes with `refusal_headers`; a pair has the reason, too. A watch that ends in ABORT is
    reset instead of ended.
    """

    def __init__(
        self, lists: Sequence[Document | int | tuple[int, str]], watches: list[list[Document | bytes | None] | int]
    ) -> None:
        self.requests: list[dict[str, str]] = []
        self.tokens: list[str] = []
        self.refusal_headers: dict[str, str] = {}
        self._lists = list(lists)
        self._watches = watches
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(dict(request.query))
        self.tokens.append(request.headers.get("Authorization", "").removeprefix("Bearer "))
        script: list[Any] = self._watches if "watch" in request.query else self._lists
        entry = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(entry, int | tuple):
            code, reason = entry if isinstance(entry, tuple) else (entry, "Scripted")
            status = {"kind": "Status", "reason": reason, "message": "as scripted"}
            return web.json_response(status, status=code, headers=self.refusal_headers)
        return web.json_response(entry) if isinstance(entry, dict) else await self._watch(request, entry)

    async def _watch(self, request: web.Request, events: list[Document | bytes | None]) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for event in events:
            if event is None:
                await asyncio.sleep(30)
            elif event is ABORT:
                assert request.transport
                request.transport.abort()
            else:
                await response.write(event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n")
        return response


def listing(version: int, *items: Document) -> Document:
    return {"metadata": {"resourceVersion": str(version)}, "items": list(items)}


@asynccontextmanager
async def serving(server: WatchServer, directory: Path) -> AsyncIterator[Path]:
    """The path of a kubeconfig for `server`; its token is in the file `token` in the same directory."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    kubeconfig = directory / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    (directory / "token").write_text("own-token")
    user = {"name": "u", "user": {"tokenFile": str(directory / "token")}}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [cluster],
        "contexts": [context],
        "users": [user],
    }
    kubeconfig.write_text(yaml.safe_dump(document))
    try:
        yield kubeconfig
    finally:
        await runner.cleanup()
