"""All downloads in memory: filled by the reflectors, read by `api`, and followed by `stream`.

Every answer that needs no API server comes from here. A subscription is told that a download has changed, not how:
the subscriber reads the newest state when it is ready, so nothing queues up for a slow one. No I/O.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.domain.stream import has_ended, queue_positions
from model_provisioner.kube.resource import parse

_LOG = logging.getLogger(__name__)

Predicate = Callable[[ModelDownload], bool]


class Subscription:
    """The downloads that have changed since the last `wait`: one entry for each, however often it changed.

    A download for which `predicate` is false is left out.
    """

    def __init__(self, predicate: Predicate) -> None:
        self._predicate = predicate
        self._changed: dict[str, ModelDownload | None] = {}
        self._wakeup = asyncio.Event()

    def notify(self, download: ModelDownload, *, deleted: bool) -> None:
        if self._predicate(download):
            self._changed[download.uid] = download if deleted else None
            self._wakeup.set()

    def wake(self) -> None:
        """Ends `wait` although nothing has changed."""
        self._wakeup.set()

    async def wait(self, seconds: float) -> dict[str, ModelDownload | None]:
        """Waits for a change. By uid: None for a changed download, the last state of a deleted one.

        Empty after `seconds` without a change, and after `wake`.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._wakeup.wait()
        except TimeoutError:
            return {}
        self._wakeup.clear()
        changed, self._changed = self._changed, {}
        return changed


class Board:
    """The newest state of every download, and whether an operator acts on it."""

    def __init__(self) -> None:
        self._downloads: dict[str, ModelDownload] = {}
        self._numbers: dict[str, int] = {}
        self._next_number = 0
        self._encoded: dict[str, dict[str, tuple[Hashable, bytes]]] = {}
        self._subscriptions: set[Subscription] = set()
        self._positions: dict[str, int] | None = None
        self._sorted: list[ModelDownload] | None = None
        self._ready: dict[str, tuple[ModelDownload, Model]] | None = None
        self.stale = False
        """No operator acts, so a download that has not ended makes no progress."""
        self.version = 0
        """The highest resourceVersion of all events. A client that has seen this state needs only newer ones."""

    def on_event(self, kind: str, document: Mapping[str, Any]) -> None:
        """The listener of the reflectors. `kind` is ADDED, MODIFIED or DELETED."""
        try:
            download = parse(document)
        except ValueError as error:
            _LOG.warning("an object could not be read and is left out: %s", error)
            return
        self._positions = self._sorted = self._ready = None
        self._encoded.pop(download.uid, None)
        self.version = max(self.version, int(download.resource_version or 0))
        deleted = kind == "DELETED"
        if deleted:
            self._downloads.pop(download.uid, None)
            self._numbers.pop(download.uid, None)
        else:
            self._number(download.uid)
            self._downloads[download.uid] = download
        self._notify(download, deleted=deleted)

    def set_stale(self, *, stale: bool) -> None:
        """Sets whether no operator acts. A change counts as a change of every download that has not ended."""
        if stale == self.stale:
            return
        self.stale = stale
        for download in self.all():
            if not has_ended(download):
                self._notify(download, deleted=False)

    def get(self, uid: str) -> ModelDownload | None:
        return self._downloads.get(uid)

    def number(self, uid: str) -> int:
        """A number of the known download, from 0, which no other download of this board has or gets."""
        return self._numbers[uid]

    def all(self, namespace: str | None = None) -> list[ModelDownload]:
        """The downloads of one namespace or, with None, of all; oldest first."""
        if self._sorted is None:
            self._sorted = sorted(self._downloads.values(), key=sort_key)
        if namespace is None:
            return self._sorted[:]
        return [download for download in self._sorted if download.namespace == namespace]

    def ready(self, namespace: str | None = None) -> dict[str, tuple[ModelDownload, Model]]:
        """The downloads whose model is Ready, with the model, by uid; oldest first. No other model may be offered.

        A download that is being deleted is left out: its files may go at any moment.
        """
        if self._ready is None:
            self._ready = {
                download.uid: (download, download.status.model)
                for download in self.all()
                if download.status.ready and download.status.model and not download.deleting
            }
        if namespace is None:
            return self._ready.copy()
        return {uid: entry for uid, entry in self._ready.items() if entry[0].namespace == namespace}

    def queue_position(self, uid: str) -> int | None:
        """The position in the operator's queue, from 1; None if the download is not queued. Cached until a change."""
        if self._positions is None:
            self._positions = queue_positions(self._downloads.values())
        return self._positions.get(uid)

    def encoded(self, uid: str, kind: str, variant: Hashable, encode: Callable[[], bytes]) -> bytes:
        """The result of `encode` for the current state of the download, cached.

        `kind` names the encoding, and `variant` has all that it depends on beside the download. For each kind only the
        last variant is kept.
        """
        cache = self._encoded.setdefault(uid, {}) if uid in self._downloads else {}
        entry = cache.get(kind)
        if entry is None or entry[0] != variant:
            entry = cache[kind] = (variant, encode())
        return entry[1]

    @contextmanager
    def subscribe(self, predicate: Predicate) -> Iterator[Subscription]:
        """A subscription for as long as the block runs."""
        subscription = Subscription(predicate)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def wake(self) -> None:
        """Wakes every subscriber, because something other than a download has changed."""
        for subscription in self._subscriptions:
            subscription.wake()

    def _number(self, uid: str) -> None:
        if uid not in self._numbers:
            self._numbers[uid] = self._next_number
            self._next_number += 1

    def _notify(self, download: ModelDownload, *, deleted: bool) -> None:
        for subscription in self._subscriptions:
            subscription.notify(download, deleted=deleted)


def sort_key(download: ModelDownload) -> tuple[str, str, str]:
    """The order of every list: by creation, then by namespace and name."""
    return download.creation_time, download.namespace, download.name
