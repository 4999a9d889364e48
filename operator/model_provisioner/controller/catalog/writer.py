"""Brings one ConfigMap to what its rows say: when to write, retry and resync.

Called by `controller.catalog.namespace_catalog`, for the catalog and for the ConfigMap of each engine. The requests to
the API server are in `controller.catalog.config_map`; which models are listed is decided in `controller.catalog.rows`
and `controller.catalog.engine_rows`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from model_provisioner.controller.catalog.config_map import (
    HOW_TO_HAND_OVER,
    PATIENCE_SECONDS,
    CatalogConfigMap,
    foreign_keys,
    is_labelled,
    is_ours,
    watch_path,
)
from model_provisioner.domain.catalog import DriftBackoff
from model_provisioner.domain.errors import CatalogUnavailable
from model_provisioner.domain.lifecycle.backoff import Backoff
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.reflector import Reflector

_LOG = logging.getLogger(__name__)
_BATCH_SECONDS = 1.0
_RESYNC_SECONDS = 600.0
_REFUSED_SECONDS = 60.0
_PAUSES = Backoff(first=1.0, longest=5.0)

Document = Mapping[str, Any]


class Rows(Protocol):
    """What a ConfigMap must say."""

    @property
    def is_empty(self) -> bool:
        """Whether `data` is empty."""

    @property
    def data(self) -> Mapping[str, str]:
        """The `data` of the ConfigMap."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the ConfigMap is not up to date. `retry_after` is in seconds.

    `refused` means that nothing of ours is in the ConfigMap and that we may not write to it.
    """

    message: str
    refused: bool
    retry_after: float | None = None

    @property
    def error(self) -> CatalogUnavailable:
        return CatalogUnavailable(self.message, self.retry_after)


class CatalogWriter:
    """Writes `rows` to the ConfigMap `name` of `namespace`. Run `run` as a task; `flush` works without it.

    `monotonic` and `sleep` are in seconds.
    """

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        name: str,
        rows: Rows,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._api = api
        self._watch_path = watch_path(namespace, name)
        self._config_map = CatalogConfigMap(api, namespace, name, sleep)
        self._rows = rows
        self._monotonic = monotonic
        self._sleep = sleep
        self._write_lock = asyncio.Lock()
        self._writes: set[asyncio.Task[Failure | None]] = set()
        # The write that has not begun yet: it takes along every change until it begins.
        self._next_write: asyncio.Task[Failure | None] | None = None
        self._generation = 1  # rises with each change of the rows, and with each drift of the ConfigMap that is seen
        self._written_generation = 0
        self._dirty = asyncio.Event()
        self._drifted = asyncio.Event()
        self._applied_at = -_BATCH_SECONDS
        self._last_failure: Failure | None = None
        self._writable = asyncio.Event()  # clear while the last write has failed
        self._writable.set()
        self._not_before = 0.0  # until then the API server has asked for no request (Retry-After)
        self._cached: Document | None = None
        self._cached_version = 0

    def mark_dirty(self) -> None:
        """The rows have changed: `run` writes them soon."""
        self._generation += 1
        self._dirty.set()

    async def flush(self) -> Failure | None:
        """Returns when the ConfigMap is up to date, or why it is not.

        All callers that wait when a write begins share its result, also a failure. A write goes on if its callers are
        cancelled: the outcome of a request that is given up halfway would be unknown.
        """
        if self._written_generation >= self._generation:
            return None
        if self._next_write is None or self._next_write.done():
            self._next_write = asyncio.create_task(self._write())
            self._writes.add(self._next_write)
            self._next_write.add_done_callback(self._writes.discard)
        return await asyncio.shield(self._next_write)

    async def recovered(self) -> None:
        """Returns when a write succeeds after a failed one. Never returns if the last write did not fail."""
        if self._writable.is_set():
            await asyncio.Event().wait()
        await self._writable.wait()

    async def run(self, *, is_watched: bool) -> None:
        """Keeps the ConfigMap up to date until cancelled; no write goes on afterwards: another operator may act.

        `is_watched`: the caller passes every change of the ConfigMap to `on_config_map`, so there is no watch here.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                if not is_watched:
                    tasks.create_task(self._watch())
                tasks.create_task(self._resync())
                tasks.create_task(self._revert_drift())
        finally:
            for write in self._writes:
                write.cancel()

    async def _write(self) -> Failure | None:
        """Applies at once if the last apply was a second ago or earlier; else waits, and takes along later changes."""
        async with self._write_lock:
            if self._written_generation >= self._generation:
                return None
            if failure := self._deferred():
                return failure
            due_at = max(self._applied_at + _BATCH_SECONDS, self._not_before)
            await self._sleep(max(0.0, due_at - self._monotonic()))
            self._next_write, generation = None, self._generation
            try:
                failure = await self._apply()
            except ApiError as error:
                failure = self._record(error)
            if failure:
                self._cached = None  # the API server may have done what it did not answer
                self._writable.clear()
            else:
                self._written_generation = generation
                self._writable.set()
            return failure

    def _deferred(self) -> Failure | None:
        """The last failure, if the API server has asked for a longer pause than a caller of `flush` waits."""
        seconds = self._not_before - self._monotonic()
        if self._last_failure and seconds > PATIENCE_SECONDS:
            return replace(self._last_failure, retry_after=seconds)
        return None

    def _record(self, error: ApiError) -> Failure:
        refused = error.is_forbidden or error.is_not_found
        self._last_failure = Failure(f"{self._config_map} could not be written: {error}", refused, error.retry_after)
        self._not_before = self._monotonic() + min(error.retry_after or 0.0, _RESYNC_SECONDS)
        return self._last_failure

    async def _apply(self) -> Failure | None:
        """Brings the ConfigMap to `rows`, unless it belongs to another owner. Raises ApiError."""
        found = self._cached or self._cache(await self._config_map.find())
        if self._is_up_to_date(found):
            return None
        if found is not None and not is_ours(found):
            self._cached = None  # read again by the next write: the ConfigMap may have been handed over meanwhile
            return None if self._rows.is_empty else Failure(f"{self._config_map} {HOW_TO_HAND_OVER}", refused=True)
        data = self._rows.data
        found = self._cache(await self._config_map.apply(data))
        if foreign := foreign_keys(found or {}, data):
            left = self._cache(await self._config_map.remove(foreign))
            if left is None:
                return Failure(f"{self._config_map} was deleted while it was written", refused=False)
        self._applied_at = self._monotonic()
        return None

    def _is_up_to_date(self, found: Document | None) -> bool:
        """A missing ConfigMap is up to date if no model is ready: empty ones are not created."""
        if found is None:
            return self._rows.is_empty
        return (found.get("data") or {}) == self._rows.data and not found.get("binaryData") and is_labelled(found)

    async def _watch(self) -> None:
        reflector = Reflector(self._api, self._watch_path)
        reflector.add_listener(self.on_config_map)
        await reflector.run()

    def on_config_map(self, kind: str, document: Document) -> None:
        """A listener of the watch of the ConfigMap. Our own writes arrive too; they are not newer than the cache."""
        version = int(document["metadata"]["resourceVersion"])
        if version <= self._cached_version:
            return
        self._cached_version = version
        found = None if kind == "DELETED" else document
        # The reflector drops managedFields, so without our label only a GET can tell the owner.
        self._cached = found if found and is_labelled(found) else None
        if self._is_up_to_date(found):
            return
        if self._write_lock.locked():  # this may be our own write, the answer to which has not arrived yet
            self.mark_dirty()
        else:
            self._generation += 1  # the next `flush` reverts it
            self._drifted.set()

    async def _resync(self) -> None:
        """Writes changes that no caller waits for, and reads the ConfigMap every ten minutes, if the watch is silent.

        A failed write is tried again within seconds. A refusal (a ConfigMap of another owner, no permission) lasts
        until an administrator acts: it is tried again when the rows change, a minute later at the earliest, and at the
        next resync.
        """
        failures = 0
        while True:
            try:
                async with asyncio.timeout(_RESYNC_SECONDS):
                    await self._dirty.wait()
            except TimeoutError:
                self._invalidate_cache()
            self._dirty.clear()
            failure = await self.flush()
            failures = failures + 1 if failure else 0
            if failure:
                _LOG.warning("%s", failure.message)
                pause = _REFUSED_SECONDS if failure.refused else _PAUSES.seconds(failures)
                await self._sleep(max(pause, self._not_before - self._monotonic()))
                if not failure.refused:
                    self._dirty.set()

    async def _revert_drift(self) -> None:
        """Reverts changes that other clients make: the first one at once, further ones after a pause that grows."""
        drift = DriftBackoff()
        while True:
            await self._drifted.wait()
            drift = drift.next(self._monotonic())
            if not drift.pause:
                _LOG.info(
                    "%s was changed by another client and is restored, ever later while that goes on", self._config_map
                )
            await self._sleep(drift.pause)
            self._drifted.clear()
            self.mark_dirty()

    def _cache(self, found: Document | None) -> Document | None:
        """Keeps an answer of the API server, unless the watch has brought a newer version; returns the answer."""
        version = int(found["metadata"]["resourceVersion"]) if found else 0
        if version >= self._cached_version:
            self._cached, self._cached_version = found, version
        return found

    def _invalidate_cache(self) -> None:
        self._cached, self._cached_version = None, 0
        self.mark_dirty()

    def __str__(self) -> str:
        return str(self._config_map)
