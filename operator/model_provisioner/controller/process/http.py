"""The operator's HTTP servers, for programs of the cluster: the kubelet's probes and Prometheus. Called by `app`.

The routes come from `health` and `metrics`. Users are served by the gateway, not from here.
"""

from collections.abc import Iterable

from aiohttp import web

from model_provisioner.http_server.limits import Limits
from model_provisioner.http_server.server import HttpServer

_LIMITS = Limits(connections=100, unfinished_bytes=1024 * 1024)


async def serve(routes: Iterable[web.RouteDef], address: str, option: str) -> HttpServer:
    """Serves `routes` at `address`, HOST:PORT, until `close` of the returned server is called.

    An IPv6 host is in brackets; without a host, it listens on all addresses. `option` is the flag that `address` comes
    from. Raises ListenError if it cannot listen there.
    """
    app = web.Application()
    app.add_routes(routes)
    server = HttpServer(app, _LIMITS)
    await server.start(address, option)
    return server
