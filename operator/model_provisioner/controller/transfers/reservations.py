"""The space that running downloads will still take, by volume: see `domain.ledger` for the rule.

Rebuilt after a restart, because every download reserves again when it leaves the queue. Called by the
shared transfers; the numbers of a volume come from its keeper.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Awaitable, Callable

from model_provisioner.domain.scheduling.space_reservations import must_wait
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.space import Room

_RECHECK_SECONDS = 60.0


class Reservations:
    """What is reserved changes as bytes come, so it is asked for whenever it matters."""

    def __init__(self) -> None:
        self._remaining: dict[Claim, dict[object, Callable[[], int]]] = {}
        self._freed = asyncio.Event()
        self._locks = defaultdict[Claim, asyncio.Lock](asyncio.Lock)

    async def reserve(
        self, claim: Claim, owner: object, remaining: Callable[[], int], measure: Callable[[], Awaitable[Room]]
    ) -> str | None:
        """None: it is reserved until `release`. Else why it must wait, which `freed` ends."""
        async with self._locks[claim]:
            others = self._remaining.setdefault(claim, {})
            if others:
                room = await measure()
                why = must_wait(room, [other() for other in others.values()])
                if why is not None:
                    return why
            others[owner] = remaining
            return None

    def reserved(self, claim: Claim) -> int:
        """Bytes that will still be written to it."""
        return sum(remaining() for remaining in self._remaining.get(claim, {}).values())

    def release(self, claim: Claim, owner: object) -> None:
        self._remaining.get(claim, {}).pop(owner, None)
        self._freed.set()
        self._freed = asyncio.Event()

    async def freed(self) -> None:
        """Returns when a download has ended, or after a minute, in which somebody may have deleted files."""
        freed = self._freed
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RECHECK_SECONDS):
                await freed.wait()
