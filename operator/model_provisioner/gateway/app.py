"""Puts the gateway together and runs it: the reflectors and the Lease fill the board, which API and stream read.

Called by `command`. What one route answers is in `api`, `stream` and `metrics`; the web page is in `page`.
"""

import asyncio
import contextlib
import logging
import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from model_provisioner.aio.background import in_background
from model_provisioner.gateway import cors, hosts, problems
from model_provisioner.gateway.access import Authorizer
from model_provisioner.gateway.api.calls import routes
from model_provisioner.gateway.api.downloads import Downloads
from model_provisioner.gateway.api.local import LocalModel
from model_provisioner.gateway.api.models import Models
from model_provisioner.gateway.api.openapi import openapi
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.limiter import StreamLimiter
from model_provisioner.gateway.metrics import metrics
from model_provisioner.gateway.problems import Problem
from model_provisioner.gateway.stream.lease_monitor import OperatorLeaseMonitor
from model_provisioner.gateway.stream.progress import EventStreamHandler
from model_provisioner.gateway.stream.tickets import Tickets
from model_provisioner.gateway.tls import Certificate
from model_provisioner.http_server.limits import Limits
from model_provisioner.http_server.server import HttpServer
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.reflector import Reflector
from model_provisioner.kube.resource import collection_path
from model_provisioner.settings.gateway import GatewaySettings

_LOG = logging.getLogger(__name__)
_PAGE = Path(__file__).parent / "page"
_MAX_BODY_BYTES = 64 * 1024
_MAX_EVENT_AGE_SECONDS = 180.0
_SHUTDOWN_SECONDS = 5.0
_UNCHECKED = ("/healthz", "/readyz", "/metrics")
_CONNECTIONS_WITHOUT_A_STREAM = 500
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

Reflectors = Mapping[str | None, Reflector]
"""By namespace; None is the key of a reflector of all namespaces."""


async def run_gateway(settings: GatewaySettings) -> int:
    """Runs until SIGTERM or SIGINT and returns the exit code.

    Raises ListenError, or OSError, such as ssl.SSLError, if the certificate can't be read.
    """
    _warn_if_open(settings)
    _raise_file_limit()
    certificate = Certificate(settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None
    async with contextlib.AsyncExitStack() as closing:
        api = await KubeApi.connect(settings.kubeconfig)
        closing.push_async_callback(api.close)
        board = Board()
        namespaces: list[str | None] = [*settings.watch_namespace] or [None]
        reflectors = {namespace: Reflector(api, collection_path(namespace)) for namespace in namespaces}
        for reflector in reflectors.values():
            reflector.add_listener(board.on_event)
            await in_background(closing, reflector.run())
        await in_background(closing, OperatorLeaseMonitor(api, settings.operator_namespace, board).run())
        if certificate:
            await in_background(closing, certificate.keep_fresh())
        app = make_app(api, board, reflectors, settings)
        limits = Limits(settings.max_streams + _CONNECTIONS_WITHOUT_A_STREAM)
        server = HttpServer(app, limits, certificate.context if certificate else None, _SHUTDOWN_SECONDS)
        await server.start(settings.listen, "--listen")
        closing.push_async_callback(server.close)
        _LOG.info("listening on %s", settings.listen)
        await _wait_for_signal()
    return 0


def make_app(api: KubeApi, board: Board, reflectors: Reflectors, settings: GatewaySettings) -> web.Application:
    """The application with all routes. All but the probes and the metrics are below the base path."""
    namespace, base = settings.default_namespace, settings.base_path
    open_to_all = settings.auth == "none"
    authorizer = Authorizer(api, namespace, open_to_all=open_to_all, anonymous_writes=settings.anonymous_writes)
    limiter = StreamLimiter(settings.max_streams, settings.max_streams_per_identity)
    streams = EventStreamHandler(board, authorizer, limiter, Tickets())
    downloads = Downloads(
        api, board, authorizer, _write_recorder(reflectors), namespace, settings.watch_namespace, base
    )
    local = LocalModel(board, authorizer, limiter)
    models = Models(api, board, authorizer)
    handlers = streams.handlers() | downloads.handlers() | models.handlers() | local.handlers()
    served = [*routes(handlers), *_page_routes(), _openapi_route(openapi(base, with_tokens=not open_to_all))]
    app = web.Application(
        middlewares=[
            *_cors(settings),
            problems.middleware,
            *_own_hosts(settings),
            _refuse_until_synced(base, [*reflectors.values()]),
            _finish_writes(),
        ],
        client_max_size=_MAX_BODY_BYTES,
    )
    app.add_routes([web.route(route.method, base + route.path, route.handler, **route.kwargs) for route in served])
    app.add_routes(_probes([*reflectors.values()]))
    app.add_routes([metrics(board, limiter, authorizer, [*reflectors.values()])])
    if base:
        app.add_routes([web.get(base, _redirect_to_page)])
    if settings.cors_origin:
        app.on_response_prepare.append(cors.allow(settings.cors_origin))
    app.on_shutdown.append(streams.close)
    app.on_shutdown.append(local.close)
    return app


def _warn_if_open(settings: GatewaySettings) -> None:
    if settings.auth == "none":
        rights = "read all downloads, and START AND DELETE THEM" if settings.anonymous_writes else "read all downloads"
        _LOG.warning("--auth none: every caller that reaches %s can %s", settings.listen, rights)


def _raise_file_limit() -> None:
    """Every stream is an open file, and the soft limit is often 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS accepts no infinite limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _cors(settings: GatewaySettings) -> list[Middleware]:
    return [cors.preflight(settings.cors_origin)] if settings.cors_origin else []


def _own_hosts(settings: GatewaySettings) -> list[Middleware]:
    """With tokens no check is needed: a page of another name has no token."""
    return [hosts.check(settings.allowed_host, _UNCHECKED.__contains__)] if settings.auth == "none" else []


def _write_recorder(reflectors: Reflectors) -> Callable[[dict[str, Any]], None]:
    """Hands the object that a write has returned to the reflector of its namespace."""

    def record(document: dict[str, Any]) -> None:
        reflector = reflectors.get(document["metadata"]["namespace"]) or reflectors.get(None)
        if reflector:
            reflector.record_write(document)

    return record


def _refuse_until_synced(base: str, reflectors: Sequence[Reflector]) -> Middleware:
    """Before the first list the board is empty, and an answer from it would say that every download is deleted."""

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(f"{base}/v1/") and not all(reflector.synced.is_set() for reflector in reflectors):
            detail = "the gateway has not yet listed the downloads; ask again in a moment"
            raise Problem(503, "NotReady", detail, headers={"Retry-After": "1"})
        return await handler(request)

    return refuse


def _finish_writes() -> Middleware:
    """aiohttp cancels a handler when its client disconnects. The handler of a write runs to its end all the same."""
    running: set[asyncio.Task[web.StreamResponse]] = set()

    @web.middleware
    async def finish(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method not in {"POST", "PATCH", "DELETE"}:
            return await handler(request)
        task = asyncio.ensure_future(handler(request))
        running.add(task)
        task.add_done_callback(done)
        return await asyncio.shield(task)

    def done(task: asyncio.Task[web.StreamResponse]) -> None:
        running.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, because the request that waits for it may be cancelled

    return finish


def _probes(reflectors: Sequence[Reflector]) -> list[web.RouteDef]:
    async def healthz(_request: web.Request) -> web.Response:
        age = max(reflector.last_event_age() for reflector in reflectors)
        if age > _MAX_EVENT_AGE_SECONDS:
            return web.Response(status=503, text=f"nothing heard from the API server for {age:.0f}s")
        return web.Response(text="ok")

    async def readyz(_request: web.Request) -> web.Response:
        ready = all(reflector.synced.is_set() for reflector in reflectors)
        return web.Response(text="ok" if ready else "not listed yet", status=200 if ready else 503)

    return [web.get("/healthz", healthz), web.get("/readyz", readyz)]


def _openapi_route(document: dict[str, Any]) -> web.RouteDef:
    async def show(_request: web.Request) -> web.Response:
        return web.json_response(document)

    return web.get("/openapi.json", show)


def _page_routes() -> list[web.RouteDef]:
    """One route for each file of the page. The headers forbid content from elsewhere."""

    def serve(file: Path) -> web.RouteDef:
        async def answer(_request: web.Request) -> web.FileResponse:
            return web.FileResponse(file, headers=_PAGE_HEADERS)

        return web.get("/" if file.name == "index.html" else f"/page/{file.name}", answer)

    return [serve(file) for file in sorted(_PAGE.iterdir()) if file.suffix in {".html", ".js", ".css"}]


async def _redirect_to_page(request: web.Request) -> web.Response:
    """Adds the slash at the end, because the page's links are relative."""
    return web.Response(status=308, headers={"Location": f"{request.path}/"})


async def _wait_for_signal() -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await stopping.wait()
