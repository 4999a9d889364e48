"""Keeps the catalog ConfigMap of each namespace in step with its ready models.

The lifecycle enters a model when its files are published and drops it when they are lost; a deletion
waits until it has left. A ConfigMap is server-side applied as a whole, so what is held in memory is
complete before the first apply: it is seeded from a list of all objects. What others change in it is
seen by a watch and put right again; a ConfigMap of that name that somebody else made is not touched.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from model_provisioner.domain.catalog import CATALOG_NAME, Dispute, Entry, Rows, refusal, rows, size
from model_provisioner.domain.errors import CatalogUnavailable
from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.reflector import Reflector

_LOG = logging.getLogger(__name__)
_FIELD_MANAGER = "model-provisioner"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_BATCH_SECONDS = 1.0
_LOOK_AGAIN_SECONDS = 600.0
_REFUSED_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 5.0
_TRIES = 4
_PATIENCE_SECONDS = 3.0
_LEAVE_SECONDS = 5.0
_PASSING = frozenset({0, 409, 429, 500, 502, 503, 504})
_FORBIDDEN, _NOT_FOUND = 403, 404

Document = Mapping[str, Any]
_NOBODY: tuple[str, Rows] = ("", {})


class Catalog:
    """The ready models of all watched namespaces. Run `run` as a task."""

    def __init__(
        self,
        api: KubeApi,
        namespaces: Iterable[str],
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pages = {namespace: _Page(api, namespace, monotonic, sleep) for namespace in namespaces}

    def seed(self, objects: Iterable[ModelDownload]) -> None:
        """Take in what was ready when the operator started, whatever room it needs: it was in already."""
        for one in objects:
            if one.status.ready and one.status.model and not one.deleting:
                self._pages[one.namespace].put(one, one.status.model)

    async def run(self) -> None:
        """Keeps every ConfigMap as it should be, until cancelled; from then on nothing is written."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for page in self._pages.values():
                    tasks.create_task(page.watch())
                    tasks.create_task(page.mend())
                    tasks.create_task(page.defend())
        finally:
            for page in self._pages.values():
                page.abandon()

    def holds(self, subject: ModelDownload) -> bool:
        """Whether the object was entered; that the ConfigMap stays as it should be is our business from then on."""
        return self._pages[subject.namespace].holds(subject.name, subject.uid)

    def check_room(self, subject: ModelDownload, model: Model) -> None:
        """Raises CatalogUnavailable where the model, as far as it is known, has no place beside those that are in."""
        self._pages[subject.namespace].check_room(subject, model)

    async def recovered(self, subject: ModelDownload) -> None:
        """Returns when the ConfigMap, which could not be written, is as it should be."""
        await self._pages[subject.namespace].recovered()

    async def enter(self, subject: ModelDownload, model: Model) -> None:
        """Returns when the ConfigMap has the model. Raises CatalogUnavailable."""
        self.check_room(subject, model)
        page = self._pages[subject.namespace]
        page.put(subject, model)
        if failure := await page.settle():
            raise failure.error

    async def leave(self, subject: ModelDownload) -> None:
        """Returns when the ConfigMap has the object no more. Raises CatalogUnavailable, within seconds.

        A namespace that is going away refuses to create anything (403), which here is as good as done; and of
        somebody else's ConfigMap the object never was a part.
        """
        page = self._pages[subject.namespace]
        page.take(subject.name, subject.uid)
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                failure = await page.settle()
        except TimeoutError:
            raise CatalogUnavailable(f"{page} is still being written") from None
        if failure and not failure.refused:
            raise failure.error

    def drop(self, subject: ModelDownload) -> None:
        """Its files are not there any more, or it is gone itself: the ConfigMap follows soon."""
        self._pages[subject.namespace].take(subject.name, subject.uid)

    def heard(self, kind: str, document: Document) -> None:
        """A listener of the watch of objects: one whose finalizer was taken off by force leaves no trace either."""
        if kind == "DELETED":
            metadata = document["metadata"]
            self._pages[metadata["namespace"]].take(metadata["name"], metadata["uid"])


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why the ConfigMap is not as it should be; `refused` where nothing of ours is in it and nothing may be."""

    message: str
    refused: bool
    retry_after: float | None = None

    @property
    def error(self) -> CatalogUnavailable:
        return CatalogUnavailable(self.message, self.retry_after)


class _Page:
    """The catalog of one namespace: what it should say, and what is known of its ConfigMap."""

    def __init__(
        self, api: KubeApi, namespace: str, monotonic: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._monotonic = monotonic
        self._sleep = sleep
        self._models: dict[str, tuple[str, Rows]] = {}
        self._used = 0
        self._turn = asyncio.Lock()
        self._writes: set[asyncio.Task[_Failure | None]] = set()
        self._next: asyncio.Task[_Failure | None] | None = None  # has not begun, so it takes along who comes now
        self._wanted = 1  # rises with each change of what it should say, or of what we know that it says
        self._settled = 0  # the value of `_wanted` that the ConfigMap fulfils
        self._restless = asyncio.Event()
        self._disputed = asyncio.Event()
        self._applied_at = -_BATCH_SECONDS
        self._failure: _Failure | None = None  # the last one
        self._writable = asyncio.Event()  # as far as the last write tells
        self._writable.set()
        self._not_before = 0.0  # when the API server, by its answer, may be asked again
        self._known: Document | None = None
        self._version = 0

    def holds(self, name: str, uid: str) -> bool:
        return self._models.get(name, _NOBODY)[0] == uid

    def check_room(self, subject: ModelDownload, model: Model) -> None:
        """Raises CatalogUnavailable where there is no room for one more. Who is in may always change."""
        if self.holds(subject.name, subject.uid):
            return
        why = refusal(len(self._models), self._used, size([rows(subject.name, Entry(subject.spec.model_ref, model))]))
        if why:
            raise CatalogUnavailable(f"{self} {why}")

    def put(self, subject: ModelDownload, model: Model) -> None:
        new = subject.uid, rows(subject.name, Entry(subject.spec.model_ref, model))
        old = self._models.get(subject.name, _NOBODY)
        if new != old:
            self._models[subject.name] = new
            self._used += size([new[1]]) - size([old[1]])
            self._stir()

    def take(self, name: str, uid: str) -> None:
        """Another object of the same name keeps its place."""
        if self.holds(name, uid):
            _, old = self._models.pop(name)
            self._used -= size([old])
            self._stir()

    async def settle(self) -> _Failure | None:
        """Returns when the ConfigMap is as it should be now, or why it is not.

        One write answers all who came before it began, also when it fails; and it goes on when nobody waits for it
        any more, because what becomes of a request that is given up halfway nobody could tell.
        """
        if self._settled >= self._wanted:
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

    async def _write(self) -> _Failure | None:
        """At once if the last apply is a second old; else all that come within this second are served by one."""
        async with self._turn:
            if self._settled >= self._wanted:
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
                self._settled = wanted
                self._writable.set()
            return failure

    async def recovered(self) -> None:
        """Returns when a write has succeeded after one that failed; where the last one did not fail, never."""
        if self._writable.is_set():
            await asyncio.Event().wait()
        await self._writable.wait()

    def _must_wait(self) -> _Failure | None:
        """The last failure, where the API server wants to be left alone for longer than anybody here waits."""
        seconds = self._not_before - self._monotonic()
        return replace(self._failure, retry_after=seconds) if self._failure and seconds > _PATIENCE_SECONDS else None

    def _failed(self, error: ApiError) -> _Failure:
        refused = error.status in {_FORBIDDEN, _NOT_FOUND}
        self._failure = _Failure(f"{self} could not be written: {error}", refused, error.retry_after)
        self._not_before = self._monotonic() + min(error.retry_after or 0.0, _LOOK_AGAIN_SECONDS)
        return self._failure

    async def watch(self) -> None:
        """Hears of every change of the ConfigMap, until cancelled."""
        reflector = Reflector(self._api, f"{self._collection}?fieldSelector=metadata.name%3D{CATALOG_NAME}")
        reflector.listen(self._hear)
        await reflector.run()

    async def mend(self) -> None:
        """Settles what nobody waits for; looks every ten minutes, in case the watch is deaf. Until cancelled.

        What could not be written is tried again within seconds. Somebody else's ConfigMap, or a right that we have
        not, takes somebody to put right.
        """
        failures = 0
        while True:
            try:
                async with asyncio.timeout(_LOOK_AGAIN_SECONDS):
                    await self._restless.wait()
            except TimeoutError:
                self._forget()
            self._restless.clear()
            failure = await self.settle()
            failures = failures + 1 if failure else 0
            if failure:
                _LOG.warning("%s", failure.message)
                pause = _REFUSED_SECONDS if failure.refused else min(2.0 ** (failures - 1), _LONGEST_PAUSE_SECONDS)
                await self._sleep(max(pause, self._not_before - self._monotonic()))
                if not failure.refused:
                    self._restless.set()

    async def defend(self) -> None:
        """Has put right what somebody else changed: at once, and ever later while they go on. Until cancelled."""
        dispute = Dispute()
        while True:
            await self._disputed.wait()
            dispute = dispute.goes_on(self._monotonic())
            if not dispute.pause:
                _LOG.info("%s was changed by somebody else and is put right, ever later while that goes on", self)
            await self._sleep(dispute.pause)
            self._disputed.clear()
            self._stir()

    def _hear(self, kind: str, document: Document) -> None:
        """Our own writes come back here too: they are older than what we know, or the same."""
        version = int(document["metadata"]["resourceVersion"])
        if version <= self._version:
            return
        self._version = version
        found = None if kind == "DELETED" else document
        # A watch leaves out who manages what, so without our label only the API server can tell whose it is.
        self._known = found if found and _is_labelled(found) else None
        if self._is_right(found):
            return
        if self._turn.locked():  # it may be what we are writing, and have not been told yet that it is written
            self._stir()
        else:
            self._wanted += 1  # whoever comes has it put right
            self._disputed.set()

    def _stir(self) -> None:
        self._wanted += 1
        self._restless.set()

    def _forget(self) -> None:
        self._known, self._version = None, 0
        self._stir()

    @property
    def _data(self) -> dict[str, str]:
        return {key: value for name in sorted(self._models) for key, value in self._models[name][1].items()}

    def _is_right(self, found: Document | None) -> bool:
        """Nothing to say and nobody who says it is right, too: no empty ConfigMap in every namespace."""
        if found is None:
            return not self._models
        return (found.get("data") or {}) == self._data and not found.get("binaryData") and _is_labelled(found)

    async def _persist(self) -> _Failure | None:
        """Brings the ConfigMap to what it should say, unless it is somebody else's. Raises ApiError."""
        found = self._known or self._learn(await self._patiently(self._find))
        if self._is_right(found):
            return None
        if found is not None and not _is_ours(found):
            self._known = None  # asked again by the next one that comes: it may have been handed over meanwhile
            return _Failure(f"{self} {_HOW_TO_HAND_OVER}", refused=True) if self._models else None
        document = _document(self._namespace, self._data)
        found = self._learn(await self._patiently(lambda: self._patch(document, "apply")))
        if alien := _alien(found or {}, document["data"]):
            self._learn(await self._patiently(lambda: self._patch(alien, "merge")))
        self._applied_at = self._monotonic()
        return None

    def _learn(self, found: Document | None) -> Document | None:
        """An answer; the watch may have brought a newer one while it was on its way."""
        version = int(found["metadata"]["resourceVersion"]) if found else 0
        if version >= self._version:
            self._known, self._version = found, version
        return found

    async def _find(self) -> Document | None:
        try:
            return await self._api.get(self._path)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    async def _patch(self, document: Document, kind: Literal["apply", "merge"]) -> Document | None:
        manager = _FIELD_MANAGER if kind == "apply" else None
        return await self._api.patch(self._path, document, kind, field_manager=manager)

    async def _patiently(self, request: Callable[[], Awaitable[Document | None]]) -> Document | None:
        """What passes by itself within seconds is no reason for a state that people see. Raises ApiError."""
        for failures in range(_TRIES - 1):
            try:
                return await request()
            except ApiError as error:
                seconds = error.retry_after or 2.0**failures / 4
                if error.status not in _PASSING or seconds > _PATIENCE_SECONDS:
                    raise
                await self._sleep(seconds)
        return await request()

    def __str__(self) -> str:
        return f"ConfigMap {CATALOG_NAME} in namespace {self._namespace}"

    @property
    def _collection(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}/configmaps"

    @property
    def _path(self) -> str:
        return f"{self._collection}/{CATALOG_NAME}"


_HOW_TO_HAND_OVER = (
    f"is somebody else's and is left as it is: rename or delete it, or hand it over with the label "
    f"{_MANAGED_BY}={_FIELD_MANAGER}; keys that are no model's are then removed"
)


def _is_labelled(found: Document) -> bool:
    return bool((found["metadata"].get("labels") or {}).get(_MANAGED_BY) == _FIELD_MANAGER)


def _is_ours(found: Document) -> bool:
    """By the label, by having been applied by us, or because there is nothing in it that could be lost."""
    managers: Sequence[Document] = found["metadata"].get("managedFields") or ()
    applied = any(one.get("manager") == _FIELD_MANAGER and one.get("operation") == "Apply" for one in managers)
    return applied or _is_labelled(found) or not (found.get("data") or found.get("binaryData"))


def _alien(found: Document, data: Mapping[str, str]) -> dict[str, Any]:
    """The merge-patch that removes what no model has put there; empty where there is nothing."""
    patch: dict[str, Any] = {}
    if keys := (found.get("data") or {}).keys() - data.keys():
        patch["data"] = dict.fromkeys(keys)
    if binary := found.get("binaryData"):
        patch["binaryData"] = dict.fromkeys(binary)
    return patch


def _document(namespace: str, data: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CATALOG_NAME, "namespace": namespace, "labels": {_MANAGED_BY: _FIELD_MANAGER}},
        "data": dict(data),
    }
