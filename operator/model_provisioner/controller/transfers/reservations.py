"""The space that running transfers will still write, for each claim. Not stored: it is reserved at each start.

The rule is `domain.scheduling.space_reservations`. Called by `controller.transfers.shared_transfer`, which measures the
volume through its store worker.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable

from model_provisioner.domain.scheduling.space_reservations import wait_reason
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.space import Room

_RECHECK_SECONDS = 60.0


class Reservations:
    """The reservations of one operator. Each is a function, because it shrinks while bytes arrive."""

    def __init__(self) -> None:
        self._remaining: dict[Claim, dict[object, Callable[[], int]]] = {}
        self._freed = asyncio.Event()
        self._locks = defaultdict[Claim, asyncio.Lock](asyncio.Lock)

    async def reserve(
        self, claim: Claim, owner: object, remaining: Callable[[], int], measure: Callable[[], Awaitable[Room]]
    ) -> str | None:
        """Reserves space for `owner` until `release`. Returns None, or why the transfer must wait for `freed`.

        `remaining` returns the bytes that the transfer still has to write; `measure` asks the volume. One decision at a
        time for each claim, so that two transfers never take the same space.
        """
        async with self._locks[claim]:
            others = self._remaining.setdefault(claim, {})
            if others:
                room = await measure()
                why = wait_reason(room, [other() for other in others.values()])
                if why is not None:
                    return why
            others[owner] = remaining
            return None

    def reserved(self, claim: Claim) -> int:
        """The bytes that running transfers will still write to `claim`."""
        return sum(remaining() for remaining in self._remaining.get(claim, {}).values())

    def release(self, claim: Claim, owner: object) -> None:
        self._remaining.get(claim, {}).pop(owner, None)
        self._freed.set()
        self._freed = asyncio.Event()

    async def freed(self) -> None:
        """Returns when a transfer has ended, or after a minute: files may have been deleted from the volume."""
        freed = self._freed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RECHECK_SECONDS):
                await freed.wait()
