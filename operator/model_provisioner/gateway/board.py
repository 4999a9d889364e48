"""All downloads as the gateway knows them: derived from the reflectors, and told to whoever subscribes.

Everything that is answered from memory is answered from here. A subscriber is told that a download has
changed, not how: it reads the newest state when it gets to it, so nothing can pile up.
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

Wanted = Callable[[ModelDownload], bool]


class Subscriber:
    """What has changed since somebody last looked: one entry per download, however often it changed."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._changed: dict[str, ModelDownload | None] = {}
        self._news = asyncio.Event()

    def tell(self, download: ModelDownload, *, gone: bool) -> None:
        if self._wanted(download):
            self._changed[download.uid] = download if gone else None
            self._news.set()

    def wake(self) -> None:
        """Ends the waiting, with or without news."""
        self._news.set()

    async def news(self, seconds: float) -> dict[str, ModelDownload | None]:
        """By uid: None where it has changed, its last state where it is gone. Empty after `seconds` of silence."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return {}
        self._news.clear()
        changed, self._changed = self._changed, {}
        return changed


class Board:
    """The newest state of every download, and whether it still moves."""

    def __init__(self) -> None:
        self._downloads: dict[str, ModelDownload] = {}
        self._encoded: dict[str, dict[str, tuple[Hashable, bytes]]] = {}
        self._subscribers: set[Subscriber] = set()
        self._positions: dict[str, int] | None = None
        self._in_order: list[ModelDownload] | None = None
        self._ready: dict[str, tuple[ModelDownload, Model]] | None = None
        self.stale = False
        """No operator acts: what was on its way stands still."""
        self.version = 0
        """The newest resourceVersion that was heard: who knows the state at this version is told what is newer."""

    def on_event(self, kind: str, document: Mapping[str, Any]) -> None:
        """A reflector's listener."""
        try:
            download = parse(document)
        except ValueError as error:
            _LOG.warning("an object could not be read and is left out: %s", error)
            return
        self._positions = self._in_order = self._ready = None
        self._encoded.pop(download.uid, None)
        self.version = max(self.version, int(download.resource_version or 0))
        gone = kind == "DELETED"
        if gone:
            self._downloads.pop(download.uid, None)
        else:
            self._downloads[download.uid] = download
        self._tell(download, gone=gone)

    def set_stale(self, *, stale: bool) -> None:
        """Whether an operator acts; when that changes, everybody is told of what is not over yet."""
        if stale == self.stale:
            return
        self.stale = stale
        for download in self.all():
            if not has_ended(download):
                self._tell(download, gone=False)

    def get(self, uid: str) -> ModelDownload | None:
        return self._downloads.get(uid)

    def all(self, namespace: str | None = None) -> list[ModelDownload]:
        """Of one namespace or of all, oldest first."""
        if self._in_order is None:
            self._in_order = sorted(self._downloads.values(), key=place)
        if namespace is None:
            return self._in_order[:]
        return [one for one in self._in_order if one.namespace == namespace]

    def ready(self, namespace: str | None = None) -> dict[str, tuple[ModelDownload, Model]]:
        """Those whose model is there, by uid, oldest first. Nothing else may be claimed to be there.

        The model of an object that is being deleted leaves the catalog, and its files may go at any moment.
        """
        if self._ready is None:
            known = [one for one in self.all() if not one.deleting]
            self._ready = {one.uid: (one, one.status.model) for one in known if one.status.ready and one.status.model}
        if namespace is None:
            return self._ready.copy()
        return {uid: both for uid, both in self._ready.items() if both[0].namespace == namespace}

    def queue_position(self, uid: str) -> int | None:
        """From 1; None unless it is queued. Reckoned once per change, however many clients are told."""
        if self._positions is None:
            self._positions = queue_positions(self._downloads.values())
        return self._positions.get(uid)

    def encoded(self, uid: str, kind: str, variant: Hashable, encode: Callable[[], bytes]) -> bytes:
        """What `encode` makes of this download's state, once for all who ask for the same; of each kind, the variant
        that was asked for last is kept.
        """
        known = self._encoded.setdefault(uid, {}) if uid in self._downloads else {}
        kept = known.get(kind)
        if kept is None or kept[0] != variant:
            kept = known[kind] = (variant, encode())
        return kept[1]

    @contextmanager
    def subscribe(self, wanted: Wanted) -> Iterator[Subscriber]:
        subscriber = Subscriber(wanted)
        self._subscribers.add(subscriber)
        try:
            yield subscriber
        finally:
            self._subscribers.discard(subscriber)

    def wake(self) -> None:
        """Everybody looks up, because something other than a download has changed."""
        for subscriber in self._subscribers:
            subscriber.wake()

    def _tell(self, download: ModelDownload, *, gone: bool) -> None:
        for subscriber in self._subscribers:
            subscriber.tell(download, gone=gone)


def place(download: ModelDownload) -> tuple[str, str, str]:
    """Where a download stands in every list."""
    return download.creation_time, download.namespace, download.name
