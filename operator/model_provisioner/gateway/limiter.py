"""Limits the requests that last, event streams and those that wait for a model.

In all, because each costs memory, and per identity, so that one can't take all. `stream.progress` and `api.local` call
it.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from model_provisioner.gateway.problems import Problem

_RETRY_AFTER = {"Retry-After": "10"}


class StreamLimiter:
    """`limit` is for all together, `limit_per_identity` for those of one account. All are called streams here."""

    def __init__(self, limit: int, limit_per_identity: int) -> None:
        self._limit = limit
        self._limit_per_identity = limit_per_identity
        self._by_identity: Counter[str] = Counter()
        self.open = 0
        """The number of open streams."""
        self.refused = 0
        """The number of streams that were refused since the start."""

    @contextmanager
    def acquire(self, identity: str) -> Iterator[None]:
        """Counts one stream for as long as the block runs. Raises Problem (429)."""
        self._check(identity)
        self.open += 1
        self._by_identity[identity] += 1
        try:
            yield
        finally:
            self.open -= 1
            self._by_identity[identity] -= 1
            if not self._by_identity[identity]:
                del self._by_identity[identity]

    def _check(self, identity: str) -> None:
        if self._by_identity[identity] >= self._limit_per_identity:
            self._refuse(
                f"{self._limit_per_identity} streams of this account are open, with the requests that wait: close some "
                "(one stream without a filter tells of all downloads), or ask the administrator to raise "
                "--max-streams-per-identity"
            )
        if self.open >= self._limit:
            self._refuse(
                f"{self._limit} streams are open, which is all that this gateway serves: come back later, "
                "or ask the administrator to raise --max-streams"
            )

    def _refuse(self, detail: str) -> None:
        self.refused += 1
        raise Problem(429, "TooManyStreams", detail, headers=_RETRY_AFTER)
