"""`/metrics`: what the gateway counts, in Prometheus' text format (version 0.0.4). Figures only, no names of models."""

import asyncio
from collections.abc import Callable, Sequence

from aiohttp import web

from model_provisioner.gateway.access import Access
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.stream.limiter import StreamLimiter
from model_provisioner.kube.reflector import Reflector

_Row = tuple[str, str, str, Callable[[], float]]
_PREFIX = "model_provisioner_gateway"


def metrics(board: Board, limiter: StreamLimiter, access: Access, reflectors: Sequence[Reflector]) -> web.RouteDef:
    """The route that prints them."""
    rows: list[_Row] = [
        ("streams", "gauge", "Event streams that are open.", lambda: limiter.taken),
        ("streams_refused_total", "counter", "Event streams refused because of a limit.", lambda: limiter.refused),
        ("access_reviews_total", "counter", "Access reviews asked of the API server.", lambda: access.reviews),
        ("tasks", "gauge", "Tasks of the event loop; they fall back to a few when all streams are closed.", _tasks),
        ("downloads", "gauge", "ModelDownloads that are known.", lambda: len(board.all())),
        ("operator_stale", "gauge", "1 while no operator renews its Lease.", lambda: board.stale),
        (
            "last_watch_event_age_seconds",
            "gauge",
            "Seconds since the API server was last heard.",
            lambda: max((reflector.last_event_age() for reflector in reflectors), default=0.0),
        ),
    ]

    async def show(_request: web.Request) -> web.Response:
        text = "".join(_lines(*row) for row in rows)
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    return web.get("/metrics", show)


def _tasks() -> int:
    return len(asyncio.all_tasks())


def _lines(name: str, kind: str, says: str, value: Callable[[], float]) -> str:
    full = f"{_PREFIX}_{name}"
    return f"# HELP {full} {says}\n# TYPE {full} {kind}\n{full} {float(value()):g}\n"
