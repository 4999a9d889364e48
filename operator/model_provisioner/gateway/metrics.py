"""`/metrics`: the metrics of the gateway, for Prometheus. Called once by `app`.

Everything is read at the scrape from the parts that count it. No label has the name of a model or of a caller.
"""

import asyncio
from collections.abc import Iterator, Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from model_provisioner.gateway.access import Authorizer
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.limiter import StreamLimiter
from model_provisioner.kube.reflector import Reflector

_PREFIX = "model_provisioner_gateway_"


def metrics(
    board: Board, limiter: StreamLimiter, authorizer: Authorizer, reflectors: Sequence[Reflector]
) -> web.RouteDef:
    """The route, in the format that the caller prefers (`Accept`)."""
    registry = CollectorRegistry()
    registry.register(_GatewayCollector(board, limiter, authorizer, reflectors))
    return web.get("/metrics", make_aiohttp_handler(registry))


class _GatewayCollector(Collector):
    def __init__(
        self, board: Board, limiter: StreamLimiter, authorizer: Authorizer, reflectors: Sequence[Reflector]
    ) -> None:
        self._board = board
        self._limiter = limiter
        self._authorizer = authorizer
        self._reflectors = reflectors

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        yield _gauge("streams", "Event streams that are open, and requests that wait for a model.", self._limiter.open)
        yield _counter(
            "streams_refused_total",
            "Event streams and waiting requests refused because of a limit.",
            self._limiter.refused,
        )
        yield _counter("access_reviews_total", "Access reviews asked of the API server.", self._authorizer.reviews)
        yield _gauge(
            "tasks",
            "Tasks of the event loop; they fall back to a few when all streams are closed.",
            len(asyncio.all_tasks()),
        )
        yield _gauge("downloads", "ModelDownloads that are known.", len(self._board.all()))
        yield _gauge("operator_stale", "1 while no operator renews its Lease.", self._board.stale)
        yield _gauge(
            "last_watch_event_age_seconds",
            "Seconds since the API server was last heard.",
            max((reflector.last_event_age() for reflector in self._reflectors), default=0.0),
        )


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, meaning, value=value)


def _counter(name: str, meaning: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(_PREFIX + name, meaning, value=value)
