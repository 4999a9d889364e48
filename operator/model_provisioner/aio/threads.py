"""Runs blocking calls in threads. `Threads` waits for them before it gives up what they use; `DetachedThreads` do
not.

`transfer` uses this. Cancelling a coroutine does not stop the thread that it waits for. A file must not be closed while
such a thread uses it, and must not stay open if the thread opens it after the coroutine was cancelled.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ParamSpec, TypeVar

from model_provisioner.aio.cancellation import wait_all

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """The running calls of one transfer."""

    def __init__(self) -> None:
        self._running: set[asyncio.Future[Any]] = set()
        self._in_order = ThreadPoolExecutor(max_workers=1)  # starts its thread for the first call

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `function` in a thread and returns its result. `idle` waits for it also if the caller was cancelled."""
        return await self._run(None, partial(function, *args, **kwargs))

    async def run_in_order(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `run`, in one thread that makes these calls one after the other, in the order in which they were begun."""
        return await self._run(self._in_order, partial(function, *args, **kwargs))

    def close(self) -> None:
        """Ends the thread of `run_in_order`. Call it when `idle` has returned."""
        self._in_order.shutdown(wait=False)

    async def _run(self, executor: ThreadPoolExecutor | None, function: Callable[[], T]) -> T:
        call = asyncio.get_running_loop().run_in_executor(executor, function)
        self._running.add(call)
        call.add_done_callback(self._forget)
        return await asyncio.shield(call)

    def _forget(self, call: asyncio.Future[Any]) -> None:
        self._running.discard(call)
        if not call.cancelled():
            call.exception()  # marks the error as retrieved, so that asyncio does not log it

    @asynccontextmanager
    async def opened(self, open_: Callable[[], T], close: Callable[[T], None]) -> AsyncIterator[T]:
        """Yields what `open_` returns. After the block, waits until no call is running, then calls `close` with it."""
        resources: list[T] = []
        try:
            await self.run(lambda: resources.append(open_()))
            yield resources[0]
        finally:
            try:
                await self.idle()
            finally:
                for resource in resources:
                    close(resource)

    async def idle(self) -> None:
        """Waits until no call is running. If the caller was cancelled meanwhile, raises CancelledError after that."""
        await wait_all(*self._running)


class DetachedThreads:
    """Calls that use nothing that must be closed, so that a deadline ends the wait for one and not the call.

    At most `most` of them run at one time, each in a thread of its own. One that never ends, because a volume hangs,
    takes a place here and none in the executor of the event loop, and does not keep the process from its exit.
    """

    def __init__(self, most: int) -> None:
        self._free = asyncio.Semaphore(most)

    async def run(self, function: Callable[[], T]) -> T:
        """Runs `function` and returns its result. If the caller is cancelled, returns at once; the call goes on."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def ended(give: Callable[[], None]) -> None:
            self._free.release()
            if not answer.done():
                give()

        def call() -> None:
            try:
                value = function()
            except BaseException as error:  # noqa: BLE001 - it is raised to the caller
                give = partial(answer.set_exception, error)
            else:
                give = partial(answer.set_result, value)
            with contextlib.suppress(RuntimeError):  # the event loop is closed
                loop.call_soon_threadsafe(ended, give)

        try:
            threading.Thread(target=call, daemon=True).start()
        except RuntimeError:  # no more threads
            self._free.release()
            raise
        return await answer
