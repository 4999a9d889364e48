"""Keeps all running downloads together within the operator's limit, live: see `domain.bandwidth` for the rule."""

import contextlib
from collections.abc import Iterator
from typing import Protocol

from model_provisioner.domain.scheduling.fair_share import shares


class Consumer(Protocol):
    """A running download. `wanted` is its own limit in bytes per second; None: none."""

    @property
    def wanted(self) -> int | None: ...

    def grant(self, bytes_per_second: int | None) -> None:
        """From now on it may use so much. Called again with what it has whenever anything changes."""


class Bandwidth:
    """`limit` is in bytes per second, over all consumers; None: none."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._consumers: list[Consumer] = []

    @contextlib.contextmanager
    def consumer(self, consumer: Consumer) -> Iterator[None]:
        """`consumer` has its share for as long as the block runs."""
        self._consumers.append(consumer)
        self.rebalance()
        try:
            yield
        finally:
            self._consumers.remove(consumer)
            self.rebalance()

    def rebalance(self) -> None:
        """What somebody wants has changed."""
        granted = shares(self._limit, [consumer.wanted for consumer in self._consumers])
        for consumer, share in zip(self._consumers, granted, strict=True):
            consumer.grant(share)
