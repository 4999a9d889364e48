"""The operator's HTTP servers, for programs of the cluster: the kubelet's probes and Prometheus. Called by `app`.

The routes come from `health` and `metrics`. Users are served by the gateway, not from here.
"""

from collections.abc import Iterable

from aiohttp import web


async def serve(routes: Iterable[web.RouteDef], address: str) -> web.AppRunner:
    """Serves `routes` at `address`, HOST:PORT, until `cleanup` of the returned runner is called.

    An IPv6 host is in brackets; without a host, it listens on all addresses. Raises OSError if it cannot listen there.
    """
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, _, port = address.rpartition(":")
    await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
    return runner
