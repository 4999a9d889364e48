"""Keeps a copy of a collection in step with the API server: it lists once, then watches.

The controller uses it to know its objects, and the gateway as the source of its stream. A watch that ends continues
from its last version, a silent one is cut, and after 410 Gone the collection is listed again and deletions are found by
comparison. An event that arrives after a newer state of its object is ignored.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from model_provisioner.domain.lifecycle.backoff import Backoff
from model_provisioner.kube.client import ApiError, KubeApi, Query, TooLarge

_LOG = logging.getLogger(__name__)
_WATCH_SECONDS = 290
SILENCE_SECONDS = 70.0  # bookmarks come about every minute
_PAUSES = Backoff(first=0.5, longest=8.0)
_PAGE_BYTES = 4 * 1024 * 1024  # an object has at most some MiB, and takes up to twenty times that when it is parsed
_REMEMBERED_DELETIONS = 256  # a late event of a deleted object arrives soon after the deletion

Document = dict[str, Any]
Listener = Callable[[str, Document], None]
"""Called with `ADDED`, `MODIFIED` or `DELETED`, and the document. It must not block."""


class Reflector:
    """A copy of the objects at `path`. Start `run` as a task; read `objects` after `synced` is set.

    `monotonic` is in seconds, `jitter` returns a random number in 0..1. A watch without an event for `silence` seconds
    is cut. `selection` are the selectors of list and watch, as parameters of a request. With `page_size`, a list is
    read in pages of so many objects, and of fewer if these are large: whole documents take many times the memory of
    what is kept.
    """

    def __init__(
        self,
        api: KubeApi,
        path: str,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        silence: float = SILENCE_SECONDS,
        selection: Query | None = None,
        page_size: int | None = None,
    ) -> None:
        self.synced = asyncio.Event()
        self._api = api
        self._path = path
        self._selection = dict(selection or {})
        self._page_size = page_size
        self._monotonic = monotonic
        self._sleep = sleep
        self._jitter = jitter
        self._silence = silence
        self._objects: dict[str, Document] = {}
        self._transform: Callable[[Document], Document] = lambda document: document
        self._unconfirmed: set[str] = set()
        self._deleted = deque[tuple[str, int]](maxlen=_REMEMBERED_DELETIONS)
        self._version: str | None = None
        self._listeners: list[Listener] = []
        self._last_event = monotonic()
        self._listed = float("-inf")
        self._failures = 0

    def add_listener(self, listener: Listener) -> None:
        """Calls `listener` for every change from now on, and with ADDED for each object of the first list."""
        self._listeners.append(listener)

    def objects(self) -> Iterable[Document]:
        """The newest known version of each object, after `set_transform` was applied."""
        return self._objects.values()

    def set_transform(self, transform: Callable[[Document], Document]) -> None:
        """Keeps only the result of `transform` of each document: at least name, namespace, uid and resourceVersion.

        Listeners still get whole documents, except for an object that is missing in a new list: then they get the kept
        part.
        """
        self._transform = transform
        self._objects = {uid: transform(document) for uid, document in self._objects.items()}

    def record_write(self, document: Document) -> None:
        """Stores the response to a write, before the watch brings it.

        Ignored if the watch is already past its version: the object may have changed again, or be deleted.
        """
        if self._version is not None and _version(document) > int(self._version):
            self._apply("ADDED", document)
            self._unconfirmed.add(document["metadata"]["uid"])

    def last_event_age(self) -> float:
        """Seconds since the last event. Bookmarks come about every minute, so minutes mean a broken watch."""
        return self._monotonic() - self._last_event

    async def run(self) -> None:
        """Runs until cancelled. An error of the API server does not end it."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._watch(self._version or "")
                self._failures = 0
            except ApiError as error:
                await self._recover(error)

    async def _list(self) -> None:
        listed = set[str]()
        async for answer in self._pages():
            for item in answer["items"]:
                listed.add(item["metadata"]["uid"])
                self._apply("ADDED", item)
        version = answer["metadata"]["resourceVersion"]
        unconfirmed = {
            uid for uid in self._unconfirmed if uid in self._objects and _version(self._objects[uid]) > int(version)
        }
        for uid in self._objects.keys() - listed - unconfirmed:
            self._apply("DELETED", self._objects[uid])
        self._unconfirmed = unconfirmed
        self._version = version
        self._last_event = self._listed = self._monotonic()
        self.synced.set()

    async def _pages(self) -> AsyncIterator[Document]:
        """The list, in pages if there is a page size. A page of one object is read whatever its size."""
        rest, size = "", self._page_size
        while True:
            limit = {"limit": str(size)} if size else {}
            continuing = {"continue": rest} if rest else {}
            query, max_bytes = self._selection | limit | continuing, _PAGE_BYTES if size and size > 1 else None
            try:
                answer = await self._api.get(self._path, query, max_bytes=max_bytes)
            except TooLarge:
                size = max(1, (size or 1) // 4)
                continue
            yield answer
            rest = answer["metadata"].get("continue") or ""
            if not rest:
                return

    async def _watch(self, version: str) -> None:
        query = self._selection | {
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        begun = self._monotonic()
        async for event in self._api.watch(self._path, query, self._silence):
            self._last_event = self._monotonic()
            if event["type"] == "ERROR":
                status = event["object"]
                raise ApiError(status.get("code", 0), status.get("reason", ""), status.get("message", ""))
            self._version = str(max(int(self._version or 0), _version(event["object"])))
            if event["type"] != "BOOKMARK" and not self._is_old(event["object"]):
                self._apply(event["type"], event["object"])
        if self._monotonic() - begun < 1:
            await self._pause()

    def _apply(self, kind: str, document: Document) -> None:
        uid = document["metadata"]["uid"]
        document["metadata"].pop("managedFields", None)  # half of a document, and never read here
        before = self._objects.get(uid)
        if kind == "DELETED":
            self._objects.pop(uid, None)
            self._deleted.append((uid, _version(document)))
        elif before and before["metadata"]["resourceVersion"] == document["metadata"]["resourceVersion"]:
            return
        else:
            self._objects[uid] = self._transform(document)
            kind = "MODIFIED" if before else "ADDED"
        for listener in self._listeners:
            listener(kind, document)

    def _is_old(self, document: Document) -> bool:
        """Whether the object was deleted later, or is known in a newer version.

        An object that left the selection by an edit may come back by another one.
        """
        uid, version = document["metadata"]["uid"], _version(document)
        known = self._objects.get(uid)
        if known is not None:
            return version < _version(known)
        return any(uid == deleted and version <= at for deleted, at in self._deleted)

    async def _recover(self, error: ApiError) -> None:
        _LOG.warning("watch of %s: %s", self._path, error)
        if error.is_expired:
            self._version = None
            if self._monotonic() - self._listed >= 1:
                return
        if error.retry_after is not None:
            await self._sleep(error.retry_after)
        await self._pause()

    async def _pause(self) -> None:
        """Sleeps up to eight seconds: the pause doubles and is jittered, so that clients do not return at once."""
        self._failures += 1
        await self._sleep(_PAUSES.jittered(self._failures, self._jitter()))


def _version(document: Document) -> int:
    """The resourceVersion as a number. It rises within one resource (KEP-5504, comparable resource versions)."""
    return int(document["metadata"]["resourceVersion"])
