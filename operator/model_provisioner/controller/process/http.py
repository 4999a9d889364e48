"""Serves a few routes to the cluster's own programs: probes to the kubelet, metrics to Prometheus. Called by `app`."""

from collections.abc import Iterable

from aiohttp import web


async def listen(routes: Iterable[web.RouteDef], where: str) -> web.AppRunner:
    """Until `cleanup` of what is returned; `where` is HOST:PORT. Raises OSError where nobody may listen."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, _, port = where.rpartition(":")
    await web.TCPSite(runner, host.strip("[]") or None, int(port)).start()
    return runner
