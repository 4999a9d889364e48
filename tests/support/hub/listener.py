"""An event loop in its own thread, and servers that can stop and start again on the same port.

Called by the hub and the proxies of tests. With its own thread, synchronous tests, asyncio tests and other processes
can use a server, and a test that blocks does not block it.
"""

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from typing import TypeVar

from aiohttp import web

_T = TypeVar("_T")


class LoopThread:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hub", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[object, object, _T]) -> _T:
        """Runs `work` on the loop and waits for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


class Listener:
    """One origin: an application at one address. `port` 0 takes a free port. The port is kept until `release`.

    `application` is called for each `open`; `tls` is the server context, None for plain HTTP.
    """

    def __init__(
        self, application: Callable[[], web.Application], host: str, port: int, tls: ssl.SSLContext | None
    ) -> None:
        self._application = application
        self._host = host
        self._tls = tls
        self._runner: web.AppRunner | None = None
        # Bound and never listening: while the origin is down, connections are refused and the port is not reused.
        self._reservation = _bound(host, port)
        self.port: int = self._reservation.getsockname()[1]

    @property
    def origin(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    async def open(self) -> None:
        self._runner = web.AppRunner(
            self._application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.SockSite(self._runner, _bound(self._host, self.port), ssl_context=self._tls, backlog=1024)
        await site.start()

    async def close(self) -> None:
        """Stops listening and closes every connection. Does nothing if it is closed."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def release(self) -> None:
        self._reservation.close()


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    return bound
