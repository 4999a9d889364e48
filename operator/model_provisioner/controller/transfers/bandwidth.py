"""Divides the operator's limit on bandwidth among the running transfers, and again whenever something changes.

The rule is `domain.scheduling.fair_share`. Called by `controller.transfers.shared_transfer`.
"""

import contextlib
from collections.abc import Iterator
from typing import Protocol

from model_provisioner.domain.scheduling.fair_share import shares


class Consumer(Protocol):
    """A running transfer. `wanted` is its own limit in bytes per second; None means no limit."""

    @property
    def wanted(self) -> int | None: ...

    def grant(self, bytes_per_second: int | None) -> None:
        """Sets its share; None means no limit. Called at every change, also if the share stays the same."""


class Bandwidth:
    """`limit` is in bytes per second, for all consumers together; None means no limit."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._consumers: list[Consumer] = []

    @contextlib.contextmanager
    def consumer(self, consumer: Consumer) -> Iterator[None]:
        """`consumer` has a share while the block runs."""
        self._consumers.append(consumer)
        self.rebalance()
        try:
            yield
        finally:
            self._consumers.remove(consumer)
            self.rebalance()

    def rebalance(self) -> None:
        """Divides the limit again: call it when `wanted` of a consumer has changed."""
        granted = shares(self._limit, [consumer.wanted for consumer in self._consumers])
        for consumer, share in zip(self._consumers, granted, strict=True):
            consumer.grant(share)
