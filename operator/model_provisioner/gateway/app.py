"""Puts the gateway together and runs it: reflectors → board → HTTP API, stream and page."""

import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from model_provisioner.gateway.access import Access
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.downloads import Downloads
from model_provisioner.gateway.models import Models
from model_provisioner.gateway.problems import Problem, problems
from model_provisioner.gateway.progress import ProgressStreams
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.reflector import Reflector
from model_provisioner.kube.resource import collection_path
from model_provisioner.settings import GatewaySettings

_LOG = logging.getLogger(__name__)
_PAGE = Path(__file__).parent / "page"
_LARGEST_BODY = 64 * 1024
_DEAF_SECONDS = 180.0
_SHUTDOWN_SECONDS = 5.0
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


async def run_gateway(settings: GatewaySettings) -> int:
    """Until SIGTERM or SIGINT."""
    if settings.auth == "none":
        _LOG.warning("--auth none: everybody who reaches %s can read all downloads", settings.listen)
    async with contextlib.AsyncExitStack() as closing:
        api = await KubeApi.connect(settings.kubeconfig)
        closing.push_async_callback(api.close)
        board = Board()
        namespaces: list[str | None] = [*settings.watch_namespace] or [None]
        reflectors = [Reflector(api, collection_path(namespace)) for namespace in namespaces]
        for reflector in reflectors:
            reflector.listen(board.hear)
            closing.callback(asyncio.create_task(reflector.run()).cancel)
        app = make_app(api, board, reflectors, settings)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
        await runner.setup()
        closing.push_async_callback(runner.cleanup)
        host, _, port = settings.listen.rpartition(":")
        await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
        _LOG.info("listening on %s", settings.listen)
        await _signal()
    return 0


def make_app(api: KubeApi, board: Board, reflectors: list[Reflector], settings: GatewaySettings) -> web.Application:
    """All routes of the gateway."""
    namespace, open_to_all = settings.default_namespace, settings.auth == "none"
    access = Access(api, namespace, open_to_all=open_to_all)
    streams = ProgressStreams(board, access)
    app = web.Application(middlewares=[problems, _once_listed(reflectors)], client_max_size=_LARGEST_BODY)
    app.add_routes(streams.routes())
    app.add_routes(Downloads(api, board, access, namespace, settings.watch_namespace).routes())
    app.add_routes(Models(api, board, access).routes())
    app.add_routes(_probes(reflectors))
    app.add_routes(_page())
    app.on_shutdown.append(streams.close)
    return app


def _once_listed(reflectors: list[Reflector]) -> Middleware:
    """No answer from memory before the first list: an empty board would say that every download is gone."""

    @web.middleware
    async def refuse_until_then(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/v1/") and not all(reflector.synced.is_set() for reflector in reflectors):
            detail = "the gateway has not yet listed the downloads; ask again in a moment"
            raise Problem(503, "NotReady", detail, headers={"Retry-After": "1"})
        return await handler(request)

    return refuse_until_then


def _probes(reflectors: list[Reflector]) -> list[web.RouteDef]:
    async def healthz(_request: web.Request) -> web.Response:
        age = max(reflector.last_event_age() for reflector in reflectors)
        if age > _DEAF_SECONDS:
            return web.Response(status=503, text=f"nothing heard from the API server for {age:.0f}s")
        return web.Response(text="ok")

    async def readyz(_request: web.Request) -> web.Response:
        ready = all(reflector.synced.is_set() for reflector in reflectors)
        return web.Response(text="ok" if ready else "not listed yet", status=200 if ready else 503)

    return [web.get("/healthz", healthz), web.get("/readyz", readyz)]


def _page() -> list[web.RouteDef]:
    """Only the files of the page, each by its name, with a policy that lets nothing else in."""

    def serve(file: Path) -> web.RouteDef:
        async def answer(_request: web.Request) -> web.FileResponse:
            return web.FileResponse(file, headers=_PAGE_HEADERS)

        return web.get("/" if file.name == "index.html" else f"/page/{file.name}", answer)

    return [serve(file) for file in sorted(_PAGE.iterdir()) if file.suffix in {".html", ".js", ".css"}]


async def _signal() -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()
