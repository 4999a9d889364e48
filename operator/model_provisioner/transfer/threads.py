"""Blocking calls in threads, never abandoned.

Cancelling a coroutine does not stop the thread that it waits for. A file must not be closed under
such a thread, so whoever closes it first calls `idle`.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar

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
        call.add_done_callback(self._running.discard)
        return await asyncio.shield(call)

    async def idle(self) -> None:
        """Returns when no call is running; what they raised is nobody's any more."""
        await asyncio.gather(*self._running, return_exceptions=True)
