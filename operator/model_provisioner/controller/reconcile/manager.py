"""Which objects have a running reconciliation: starts, wakes and ends it, and removes the files of a deleted object.

Called by `controller.process.handlers` with what kopf delivers; made by `controller.start_stores`. Nothing runs for an
object that is settled: a change of it or of its files starts its reconciliation anew. Keeps its state in memory only:
after a restart it is rebuilt from the objects. Imports no kopf, and does not decide what happens to an object: that is
`reconciler`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from contextvars import Context
from typing import Any

from model_provisioner.controller.reconcile.check_times import CheckTimes
from model_provisioner.controller.reconcile.dependencies import Dependencies
from model_provisioner.controller.reconcile.last_status import LastStatus
from model_provisioner.controller.reconcile.reconciler import Reconciler
from model_provisioner.controller.reconcile.settled_objects import SettledObjects, drop_content, packed
from model_provisioner.controller.reconcile.status_writer import Gone
from model_provisioner.controller.reconcile.wakeup import Wakeup
from model_provisioner.domain.annotations import RECONCILE_AT, VERIFY_AT
from model_provisioner.domain.errors import ClaimNotFound, ClaimNotMounted
from model_provisioner.domain.lifecycle.terminating_message import (
    postponed_message,
    released_message,
    unreleased_message,
)
from model_provisioner.domain.modeldownload import ModelDownload, ReclaimPolicy
from model_provisioner.kube.client import ApiError
from model_provisioner.kube.resource import FINALIZER, is_being_deleted, object_path, other_finalizers, parse

_LOG = logging.getLogger(__name__)
_STOP_SECONDS = 10.0
_RELEASE_SECONDS = 20.0  # of one try: the handler must see an error before its own time is over
_LAST_STATUS_SECONDS = 5.0
_FINALIZER_POLL_SECONDS = 1.0
_FAILED_SECONDS = 60.0  # until the reconciliation of an object begins again after a bug

Body = Mapping[str, Any]
Document = dict[str, Any]


class _Reconciliation:
    """The running reconciliation of one object. `body` is its newest version; `changed` wakes it.

    `known` is the version in which it was settled the last time.
    """

    def __init__(self, body: Document, known: ModelDownload | None = None) -> None:
        self.body = body
        self.known = known
        self.changed = Wakeup()
        self.reconciler: Reconciler | None = None  # None until our finalizer is on the object
        self.task: asyncio.Task[None] | None = None
        self.is_gone = False
        self._is_cancelled = False

    def update(self, body: Document) -> bool:
        """Takes another version. Returns True if another client has changed what the reconciler acts on."""
        before, self.body = _requests(self.body), body
        if self.reconciler is None:
            self.changed.set()
            return False
        if self.reconciler.is_resting:  # it may be settled now
            self.changed.set()
        version = body["metadata"]["resourceVersion"]
        return before != _requests(body) or self.reconciler.has_foreign_status(version, lambda: parse(body))

    def cancel(self) -> None:
        """Cancels it only once: it may already be ending what it has started."""
        if self.task and not self._is_cancelled:
            self._is_cancelled = True
            self.task.cancel()


class Manager:
    """The reconciliations of all objects of one operator."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._running: dict[str, _Reconciliation] = {}  # by uid
        self._settled = SettledObjects(deps.file_monitor, self._on_files_changed, self._on_files_seen)
        self.check_times = CheckTimes(deps.api, self._settled.find, deps.claims, deps.now, deps.sleep)
        self._last_status = LastStatus(deps.api, deps.now, deps.sleep)
        self._is_stopping = False

    @property
    def uids(self) -> frozenset[str]:
        """The objects that have a running reconciliation, or that are settled."""
        return self._settled.uids.union(self._running)

    def add_settled(self, download: ModelDownload, document: bytes) -> None:
        """Takes an object that is settled in this version. `document` is its `packed` document."""
        self._settled.add(download, document)
        self._deps.metrics.settled(download)

    def observe(self, body: Document) -> bool:
        """Takes a version of an object, and starts a reconciliation unless the object is settled or being deleted.

        `body` is kept; of a settled object only the metadata stays in it. Returns True if `wake` must be called.
        """
        metadata = body["metadata"]
        uid = metadata["uid"]
        if is_being_deleted(metadata):
            self.forget(uid)
        elif running := self._running.get(uid):
            return running.update(body)
        elif self._settled.is_known(uid, int(metadata["resourceVersion"])):
            drop_content(body)
        elif latest := self._settled.keep(body):
            self._deps.metrics.settled(latest)
            drop_content(body)
        else:
            before = self._unsettle(uid)
            self._start(body, parse(before) if before else None)
        return False

    def wake(self, uid: str) -> None:
        """Tells the reconciliation of the object, if there is one, that the object has changed."""
        if uid in self._running:
            self._running[uid].changed.set()

    def forget(self, uid: str, *, is_gone: bool = False) -> None:
        """Ends the reconciliation of an object that is gone or being deleted, and does not wait for its end."""
        self._unsettle(uid)
        if running := self._running.get(uid):
            running.is_gone = running.is_gone or is_gone
            running.cancel()

    async def stop(self) -> None:
        """Ends all reconciliations, and starts none any more. Waits ten seconds at most."""
        self._is_stopping = True
        running = list(self._running.values())
        for one in running:
            one.cancel()
        if tasks := [one.task for one in running if one.task]:
            await asyncio.wait(tasks, timeout=_STOP_SECONDS)

    def forget_settled(self, uid: str) -> None:
        """The object is gone, and may never have been observed."""
        self._unsettle(uid)

    def _start(self, body: Document, known: ModelDownload | None = None) -> None:
        if self._is_stopping:
            return
        one = self._running[body["metadata"]["uid"]] = _Reconciliation(body, known)
        # An empty context: that of the caller has what kopf knows of one event, which would be kept in memory.
        one.task = asyncio.get_running_loop().create_task(self._run(one), context=Context())
        one.task.add_done_callback(lambda _: self._has_stopped(one))  # also if it is cancelled before its first step

    def _unsettle(self, uid: str) -> Document | None:
        body = self._settled.take(uid)
        if body is not None:
            self._deps.metrics.forget(uid)
        return body

    def _on_files_changed(self, uid: str) -> None:
        body = self._unsettle(uid)
        if body is not None:
            self._start(body)

    def _on_files_seen(self, uid: str) -> None:
        self.check_times.add(uid)

    async def _run(self, one: _Reconciliation) -> None:
        """Runs until the object is settled or gone."""
        try:
            while await self._has_finalizer(one):
                if await self._has_ended(one):
                    return
        finally:
            self._has_stopped(one)

    def _has_stopped(self, one: _Reconciliation) -> None:
        uid = one.body["metadata"]["uid"]
        if self._running.get(uid) is one:
            del self._running[uid]
            if one.is_gone:  # the catalog may have seen the deletion before the entry was made
                self._deps.catalog.drop(parse(one.body))

    async def _has_finalizer(self, one: _Reconciliation) -> bool:
        """Waits until our finalizer is on the object: without it, a deletion would leave files behind.

        Returns False if the object is gone.
        """
        while FINALIZER not in (one.body["metadata"].get("finalizers") or ()):
            one.changed.clear()
            changed, _ = await asyncio.wait({one.changed.future}, timeout=_FINALIZER_POLL_SECONDS)
            if not (changed or await self._exists(one.body)):
                return False
        return True

    async def _has_ended(self, one: _Reconciliation) -> bool:
        """Reconciles the object. Returns False if that must begin again: it has failed, or the object has changed."""
        try:
            one.reconciler = Reconciler(self._deps, lambda: parse(one.body), one.changed, one.known)
            settled = await one.reconciler.run()
        except Exception as error:  # noqa: BLE001 -- the edge where a bug of one object is kept from the others
            one.reconciler = one.known = None
            return await self._is_gone(one, error)
        if settled.resource_version != one.body["metadata"]["resourceVersion"]:
            one.known = settled
            return False
        self.add_settled(settled, packed(one.body))
        drop_content(one.body)
        return True

    async def _is_gone(self, one: _Reconciliation, error: Exception) -> bool:
        """Whether the object is gone. Any other `error` is a bug, which is logged; then waits before the next try."""
        if isinstance(error, BaseExceptionGroup):
            _, rest = error.split(Gone)
            if rest is None:
                return True
        metadata = one.body["metadata"]
        _LOG.error("the reconciliation of %s/%s has failed", metadata["namespace"], metadata["name"], exc_info=error)
        one.changed.clear()
        await asyncio.wait({one.changed.future}, timeout=_FAILED_SECONDS)
        return False

    async def _exists(self, body: Body) -> bool:
        """Whether the API server has the object. True if it cannot answer now."""
        metadata = body["metadata"]
        try:
            found = await self._deps.api.get(object_path(metadata["namespace"], metadata["name"]))
        except ApiError as error:
            return not error.is_not_found
        return bool(found["metadata"]["uid"] == metadata["uid"])

    async def release(self, body: Body) -> None:
        """Does all that must happen before our finalizer is removed. Idempotent.

        The reconciliation ends first, then the model leaves the catalog, then its files and records are removed. If the
        object stays, because another program has a finalizer on it, its status says so: it is not Ready any more.
        Raises ProvisionError, or TimeoutError if the volume or the API server does not answer; then call it again.
        """
        download = parse(body)
        self.forget(download.uid)
        running = self._running.get(download.uid)
        if running and running.task:
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.wait({running.task})
        async with asyncio.timeout(_RELEASE_SECONDS):
            await self._deps.catalog.leave(download)
            deleted = await self._remove_files(download)
            if others := other_finalizers(body["metadata"]):
                await self._last_status.write(download, released_message(len(deleted), others))

    async def report_delay(self, body: Body, why: str) -> None:
        """Tells in the status why `release` has failed: the object is not Ready any more, but stays for now."""
        download = parse(body)
        if download.uid not in self._running:  # else its own status writer is still at work
            await self._tell(download, unreleased_message(why))

    async def postpone_cleanup(self, body: Body, why: str) -> None:
        """Records an Event: the object is deleted now, and the garbage collector cleans its volume later."""
        download = parse(body)
        message = f"released without removing its files: {why}"
        await self._deps.event_recorder.record(download, "Warning", "CleanupPostponed", message)
        if others := other_finalizers(body["metadata"]):
            await self._tell(download, postponed_message(why, others))

    async def _tell(self, download: ModelDownload, message: str) -> None:
        """Writes the status if the API server answers soon: nothing waits for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_STATUS_SECONDS):
                await self._last_status.write(download, message)

    async def _remove_files(self, download: ModelDownload) -> tuple[str, ...]:
        """Returns the paths of the published files that were deleted."""
        try:
            claim = self._deps.stores.claim_of(download)
        except ClaimNotMounted:
            return ()  # the object has never had files in this operator's volumes
        if download.status.model is None and self._deps.stores.needs_pod(claim):
            return ()  # it has nothing there; no pod is started for that
        store_id = download.status.model.store_id if download.status.model else None
        delete = download.spec.reclaim_policy is ReclaimPolicy.DELETE
        try:
            removed = await self._deps.stores.remove(claim, store_id, download.uid, delete)
        except ClaimNotFound:
            return ()  # the files are gone with the claim
        except ClaimNotMounted:
            return ()  # its namespace is being deleted, and the claim with it: no worker pod can be started there
        _LOG.info("%s/%s released; removed %s", download.namespace, download.name, list(removed) or "no files")
        return removed


def _requests(body: Body) -> tuple[object, ...]:
    """What a client changes to ask for something: the generation rises with the spec."""
    metadata = body["metadata"]
    annotations = metadata.get("annotations") or {}
    return metadata.get("generation"), annotations.get(RECONCILE_AT), annotations.get(VERIFY_AT)
