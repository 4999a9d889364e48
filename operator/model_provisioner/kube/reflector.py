"""Keeps a copy of a collection in step with the API server: list, then watch, for ever.

Both sides of the cluster use it: the operator to know what there is, the gateway as the truth of its
stream. It survives what watches die of: a watch that ends goes on from its last version, one that is
silent is cut, and after 410 Gone everything is listed anew and deletions are told by comparison. What comes
in the wrong order is no news.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from model_provisioner.domain.lifecycle.backoff import Backoff
from model_provisioner.kube.client import ApiError, KubeApi

_LOG = logging.getLogger(__name__)
_WATCH_SECONDS = 290
SILENCE_SECONDS = 70.0  # bookmarks come about every minute
_PAUSES = Backoff(first=0.5, longest=8.0)
_REMEMBERED = 256  # deletions; what overtakes another one is close to it

Document = dict[str, Any]
Listener = Callable[[str, Document], None]
"""Hears `ADDED`, `MODIFIED` or `DELETED`, and the document; it must not block."""


class Reflector:
    """The objects below `path`. Run `run` as a task; read `objects` once `synced` is set."""

    def __init__(
        self,
        api: KubeApi,
        path: str,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        self.synced = asyncio.Event()
        self._api = api
        self._path = path
        self._monotonic = monotonic
        self._sleep = sleep
        self._jitter = jitter
        self._silence = silence
        self._objects: dict[str, Document] = {}
        self._transform: Callable[[Document], Document] = lambda document: document
        self._ahead: set[str] = set()
        self._deleted = deque[str](maxlen=_REMEMBERED)
        self._version: str | None = None
        self._listeners: list[Listener] = []
        self._heard = monotonic()
        self._listed = float("-inf")
        self._failures = 0

    def add_listener(self, listener: Listener) -> None:
        """From now on `listener` hears of every change, and of the first list as ADDED."""
        self._listeners.append(listener)

    def objects(self) -> Iterable[Document]:
        """The newest known version of every object."""
        return self._objects.values()

    def set_transform(self, transform: Callable[[Document], Document]) -> None:
        """From now on only the `transform` of every document is kept: at least its name, namespace, uid and version.

        Listeners still hear of whole documents, but of an object that a list no longer has, what was kept.
        """
        self._transform = transform
        self._objects = {uid: transform(document) for uid, document in self._objects.items()}

    def record_write(self, document: Document) -> None:
        """What the API server has answered to a write, which the watch may not have brought yet.

        Nothing happens where the watch is already past it: the object may be another by now, or gone.
        """
        if self._version is not None and _version(document) > int(self._version):
            self._take("ADDED", document)
            self._ahead.add(document["metadata"]["uid"])

    def last_event_age(self) -> float:
        """Seconds since anything was heard; bookmarks come about every minute, so minutes mean deafness."""
        return self._monotonic() - self._heard

    async def run(self) -> None:
        """Until cancelled; no failure of the API server ends it."""
        while True:
            try:
                if self._version is None:
                    await self._list()
                await self._watch(self._version or "")
                self._failures = 0
            except ApiError as error:
                await self._recover(error)

    async def _list(self) -> None:
        answer = await self._api.get(self._path)
        version = answer["metadata"]["resourceVersion"]
        listed = {item["metadata"]["uid"] for item in answer["items"]}
        for item in answer["items"]:
            self._take("ADDED", item)
        ahead = {uid for uid in self._ahead if uid in self._objects and _version(self._objects[uid]) > int(version)}
        for uid in self._objects.keys() - listed - ahead:
            self._take("DELETED", self._objects[uid])
        self._ahead = ahead
        self._version = version
        self._heard = self._listed = self._monotonic()
        self.synced.set()

    async def _watch(self, version: str) -> None:
        query = {
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        begun = self._monotonic()
        async for event in self._api.watch(self._path, query, self._silence):
            self._heard = self._monotonic()
            if event["type"] == "ERROR":
                status = event["object"]
                raise ApiError(status.get("code", 0), status.get("reason", ""), status.get("message", ""))
            self._version = str(max(int(self._version or 0), _version(event["object"])))
            if event["type"] != "BOOKMARK" and not self._is_old(event["object"]):
                self._take(event["type"], event["object"])
        if self._monotonic() - begun < 1:
            await self._pause()

    def _take(self, kind: str, document: Document) -> None:
        uid = document["metadata"]["uid"]
        document["metadata"].pop("managedFields", None)  # half of a document, and nobody here reads it
        before = self._objects.get(uid)
        if kind == "DELETED":
            self._objects.pop(uid, None)
            self._deleted.append(uid)
        elif before and before["metadata"]["resourceVersion"] == document["metadata"]["resourceVersion"]:
            return
        else:
            self._objects[uid] = self._transform(document)
            kind = "MODIFIED" if before else "ADDED"
        for listener in self._listeners:
            listener(kind, document)

    def _is_old(self, document: Document) -> bool:
        """Is it gone, or known in a later version?"""
        uid = document["metadata"]["uid"]
        known = self._objects.get(uid)
        return uid in self._deleted or (known is not None and _version(document) < _version(known))

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
        """Doubles up to eight seconds, jittered, so that many clients do not come back at once."""
        self._failures += 1
        await self._sleep(_PAUSES.jittered(self._failures, self._jitter()))


def _version(document: Document) -> int:
    """Versions of one resource are numbers that rise (KEP-5504, comparable resource versions)."""
    return int(document["metadata"]["resourceVersion"])
