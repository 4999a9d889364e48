"""What the catalog of one namespace should say, and the writing of it: at once, in batches, again.

Called by `catalog`. How the ConfigMap is read and written stands in `catalog_config_map`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from model_provisioner.controller.catalog.config_map import (
    HOW_TO_HAND_OVER,
    PATIENCE_SECONDS,
    CatalogConfigMap,
    foreign_keys,
    is_labelled,
    is_ours,
)
from model_provisioner.domain.catalog import DriftBackoff, Entry, Rows, refusal, rows, size
from model_provisioner.domain.errors import CatalogUnavailable
from model_provisioner.domain.lifecycle.backoff import Backoff
from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.reflector import Reflector

_LOG = logging.getLogger(__name__)
_BATCH_SECONDS = 1.0
_LOOK_AGAIN_SECONDS = 600.0
_REFUSED_SECONDS = 60.0
_PAUSES = Backoff(first=1.0, longest=5.0)

Document = Mapping[str, Any]
_NOBODY: tuple[str, Rows] = ("", {})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the ConfigMap is not as it should be; `refused` where nothing of ours is in it and nothing may be."""

    message: str
    refused: bool
    retry_after: float | None = None

    @property
    def error(self) -> CatalogUnavailable:
        return CatalogUnavailable(self.message, self.retry_after)


class NamespaceCatalog:
    """The catalog of one namespace: what it should say, and what is known of its ConfigMap."""

    def __init__(
        self, api: KubeApi, namespace: str, monotonic: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._api = api
        self._config_map = CatalogConfigMap(api, namespace, sleep)
        self._monotonic = monotonic
        self._sleep = sleep
        self._models: dict[str, tuple[str, Rows]] = {}
        self._used = 0
        self._turn = asyncio.Lock()
        self._writes: set[asyncio.Task[Failure | None]] = set()
        self._next: asyncio.Task[Failure | None] | None = None  # has not begun, so it takes along who comes now
        self._wanted = 1  # rises with each change of what it should say, or of what we know that it says
        self._fulfilled = 0  # the value of `_wanted` that the ConfigMap fulfils
        self._dirty = asyncio.Event()
        self._drifted = asyncio.Event()
        self._applied_at = -_BATCH_SECONDS
        self._failure: Failure | None = None  # the last one
        self._writable = asyncio.Event()  # as far as the last write tells
        self._writable.set()
        self._not_before = 0.0  # when the API server, by its answer, may be asked again
        self._known: Document | None = None
        self._version = 0

    def holds(self, name: str, uid: str) -> bool:
        return self._models.get(name, _NOBODY)[0] == uid

    def check_room(self, download: ModelDownload, model: Model) -> None:
        """Raises CatalogUnavailable where there is no room for one more. Who is in may always change."""
        if self.holds(download.name, download.uid):
            return
        why = refusal(len(self._models), self._used, size([rows(download.name, Entry(download.spec.model_ref, model))]))
        if why:
            raise CatalogUnavailable(f"{self} {why}")

    def put(self, download: ModelDownload, model: Model) -> None:
        new = download.uid, rows(download.name, Entry(download.spec.model_ref, model))
        old = self._models.get(download.name, _NOBODY)
        if new != old:
            self._models[download.name] = new
            self._used += size([new[1]]) - size([old[1]])
            self._mark_dirty()

    def take(self, name: str, uid: str) -> None:
        """Another object of the same name keeps its place."""
        if self.holds(name, uid):
            _, old = self._models.pop(name)
            self._used -= size([old])
            self._mark_dirty()

    async def bring_up_to_date(self) -> Failure | None:
        """Returns when the ConfigMap is as it should be now, or why it is not.

        One write answers all who came before it began, also when it fails; and it goes on when nobody waits for it
        any more, because what becomes of a request that is given up halfway nobody could tell.
        """
        if self._fulfilled >= self._wanted:
            return None
        if self._next is None or self._next.done():
            self._next = asyncio.create_task(self._write())
            self._writes.add(self._next)
            self._next.add_done_callback(self._writes.discard)
        return await asyncio.shield(self._next)

    def abandon(self) -> None:
        """No write that has been begun goes on: another operator may act from now on."""
        for write in self._writes:
            write.cancel()

    async def _write(self) -> Failure | None:
        """At once if the last apply is a second old; else all that come within this second are served by one."""
        async with self._turn:
            if self._fulfilled >= self._wanted:
                return None
            if failure := self._must_wait():
                return failure
            due_at = max(self._applied_at + _BATCH_SECONDS, self._not_before)
            await self._sleep(max(0.0, due_at - self._monotonic()))
            self._next, wanted = None, self._wanted
            try:
                failure = await self._persist()
            except ApiError as error:
                failure = self._failed(error)
            if failure:
                self._known = None  # what was asked for may have been done all the same
                self._writable.clear()
            else:
                self._fulfilled = wanted
                self._writable.set()
            return failure

    async def recovered(self) -> None:
        """Returns when a write has succeeded after one that failed; where the last one did not fail, never."""
        if self._writable.is_set():
            await asyncio.Event().wait()
        await self._writable.wait()

    def _must_wait(self) -> Failure | None:
        """The last failure, where the API server wants to be left alone for longer than anybody here waits."""
        seconds = self._not_before - self._monotonic()
        return replace(self._failure, retry_after=seconds) if self._failure and seconds > PATIENCE_SECONDS else None

    def _failed(self, error: ApiError) -> Failure:
        refused = error.is_forbidden or error.is_not_found
        self._failure = Failure(f"{self} could not be written: {error}", refused, error.retry_after)
        self._not_before = self._monotonic() + min(error.retry_after or 0.0, _LOOK_AGAIN_SECONDS)
        return self._failure

    async def watch(self) -> None:
        """Hears of every change of the ConfigMap, until cancelled."""
        reflector = Reflector(self._api, self._config_map.watch_path)
        reflector.add_listener(self._hear)
        await reflector.run()

    async def resync(self) -> None:
        """Writes what nobody waits for; looks every ten minutes, in case the watch is deaf. Until cancelled.

        What could not be written is tried again within seconds. Somebody else's ConfigMap, or a right that we have
        not, takes somebody to put right.
        """
        failures = 0
        while True:
            try:
                async with asyncio.timeout(_LOOK_AGAIN_SECONDS):
                    await self._dirty.wait()
            except TimeoutError:
                self._forget()
            self._dirty.clear()
            failure = await self.bring_up_to_date()
            failures = failures + 1 if failure else 0
            if failure:
                _LOG.warning("%s", failure.message)
                pause = _REFUSED_SECONDS if failure.refused else _PAUSES.seconds(failures)
                await self._sleep(max(pause, self._not_before - self._monotonic()))
                if not failure.refused:
                    self._dirty.set()

    async def revert_drift(self) -> None:
        """Has put right what somebody else changed: at once, and ever later while they go on. Until cancelled."""
        drift = DriftBackoff()
        while True:
            await self._drifted.wait()
            drift = drift.next(self._monotonic())
            if not drift.pause:
                _LOG.info("%s was changed by somebody else and is put right, ever later while that goes on", self)
            await self._sleep(drift.pause)
            self._drifted.clear()
            self._mark_dirty()

    def _hear(self, kind: str, document: Document) -> None:
        """Our own writes come back here too: they are older than what we know, or the same."""
        version = int(document["metadata"]["resourceVersion"])
        if version <= self._version:
            return
        self._version = version
        found = None if kind == "DELETED" else document
        # The reflector drops who manages what, so without our label only the API server can tell whose it is.
        self._known = found if found and is_labelled(found) else None
        if self._is_right(found):
            return
        if self._turn.locked():  # it may be what we are writing, and have not been told yet that it is written
            self._mark_dirty()
        else:
            self._wanted += 1  # whoever comes has it put right
            self._drifted.set()

    def _mark_dirty(self) -> None:
        self._wanted += 1
        self._dirty.set()

    def _forget(self) -> None:
        self._known, self._version = None, 0
        self._mark_dirty()

    @property
    def _data(self) -> dict[str, str]:
        return {key: value for name in sorted(self._models) for key, value in self._models[name][1].items()}

    def _is_right(self, found: Document | None) -> bool:
        """Nothing to say and nobody who says it is right, too: no empty ConfigMap in every namespace."""
        if found is None:
            return not self._models
        return (found.get("data") or {}) == self._data and not found.get("binaryData") and is_labelled(found)

    async def _persist(self) -> Failure | None:
        """Brings the ConfigMap to what it should say, unless it is somebody else's. Raises ApiError."""
        found = self._known or self._learn(await self._config_map.find())
        if self._is_right(found):
            return None
        if found is not None and not is_ours(found):
            self._known = None  # asked again by the next one that comes: it may have been handed over meanwhile
            return Failure(f"{self} {HOW_TO_HAND_OVER}", refused=True) if self._models else None
        data = self._data
        found = self._learn(await self._config_map.apply(data))
        if foreign := foreign_keys(found or {}, data):
            self._learn(await self._config_map.remove(foreign))
        self._applied_at = self._monotonic()
        return None

    def _learn(self, found: Document | None) -> Document | None:
        """An answer; the watch may have brought a newer one while it was on its way."""
        version = int(found["metadata"]["resourceVersion"]) if found else 0
        if version >= self._version:
            self._known, self._version = found, version
        return found

    def __str__(self) -> str:
        return str(self._config_map)
