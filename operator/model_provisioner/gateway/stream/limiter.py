"""How many streams may be open: in all, because each costs memory, and per identity, so that nobody takes all."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from model_provisioner.gateway.problems import Problem

_COME_BACK = {"Retry-After": "10"}


class StreamLimiter:
    """`most` in all, `most_each` per identity."""

    def __init__(self, most: int, most_each: int) -> None:
        self._most = most
        self._most_each = most_each
        self._by_identity: Counter[str] = Counter()
        self.taken = 0
        self.refused = 0

    @contextmanager
    def take(self, identity: str) -> Iterator[None]:
        """One seat for as long as the block runs. Raises Problem (429)."""
        self._check(identity)
        self.taken += 1
        self._by_identity[identity] += 1
        try:
            yield
        finally:
            self.taken -= 1
            self._by_identity[identity] -= 1
            if not self._by_identity[identity]:
                del self._by_identity[identity]

    def _check(self, identity: str) -> None:
        if self._by_identity[identity] >= self._most_each:
            self._refuse(
                f"{self._most_each} streams of this account are open: close some (one stream without a filter tells "
                "of all downloads), or ask the administrator to raise --max-streams-per-identity"
            )
        if self.taken >= self._most:
            self._refuse(
                f"{self._most} streams are open, which is all that this gateway serves: come back later, "
                "or ask the administrator to raise --max-streams"
            )

    def _refuse(self, detail: str) -> None:
        self.refused += 1
        raise Problem(429, "TooManyStreams", detail, headers=_COME_BACK)
