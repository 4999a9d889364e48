"""Blocking calls in threads, never abandoned.

Cancelling a coroutine does not stop the thread that it waits for. A file must not be closed under
such a thread, nor be left open because the thread opened it for somebody who did not wait.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

from model_provisioner.aio.cancellation import wait_all

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """The calls that one transfer has running."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[Any]] = set()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` returns; if the caller is cancelled the call stays known until it has ended."""
        call = asyncio.get_running_loop().run_in_executor(None, partial(function, *args, **kwargs))
        self._running.add(call)
        call.add_done_callback(self._forget)
        return await asyncio.shield(call)

    def _forget(self, call: asyncio.Future[Any]) -> None:
        self._running.discard(call)
        if not call.cancelled():
            call.exception()  # of a call that nobody waits for any more it is nobody's

    @asynccontextmanager
    async def opened(self, open_: Callable[[], T], close: Callable[[T], None]) -> AsyncIterator[T]:
        """What `open_` returns, for as long as the block runs; then `close` is called, under no call that uses it."""
        there: list[T] = []
        try:
            await self.run(lambda: there.append(open_()))
            yield there[0]
        finally:
            try:
                await self.idle()
            finally:
                for one in there:
                    close(one)

    async def idle(self) -> None:
        """Returns when no call is running; then raises what cancelled us meanwhile."""
        await wait_all(*self._running)
