"""Which objects have a running reconciliation: starts, wakes and ends it, and removes the files of a deleted object.

Called by `controller.process.handlers` with what kopf delivers; made by `controller.app`. Keeps its state in memory
only: after a restart it is rebuilt from the objects. Imports no kopf, and does not decide what happens to an object:
that is `reconciler`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.controller.reconcile.dependencies import Dependencies
from model_provisioner.controller.reconcile.last_status import LastStatus
from model_provisioner.controller.reconcile.reconciler import Reconciler
from model_provisioner.controller.reconcile.status_writer import Gone
from model_provisioner.controller.reconcile.wakeup import Wakeup
from model_provisioner.domain.errors import ClaimNotMounted
from model_provisioner.domain.lifecycle.terminating_message import (
    postponed_message,
    released_message,
    unreleased_message,
)
from model_provisioner.domain.modeldownload import ModelDownload, ReclaimPolicy
from model_provisioner.kube.client import ApiError
from model_provisioner.kube.resource import FINALIZER, object_path, other_finalizers, parse

_LOG = logging.getLogger(__name__)
_STOP_SECONDS = 10.0
_RELEASE_SECONDS = 20.0  # of one try: the handler must see an error before its own time is over
_LAST_STATUS_SECONDS = 5.0
_FINALIZER_POLL_SECONDS = 0.2

Body = Mapping[str, Any]
Stopped = Callable[[float | None], Awaitable[object]]
"""Waits until kopf stops the daemon, at most the given seconds (None: without limit); true if it is stopped."""


class _Reconciliation:
    """The running reconciler of one object. `changed` wakes it; `ended` is done when it has stopped."""

    def __init__(self, deps: Dependencies, body: Body) -> None:
        self.changed = Wakeup()
        self.reconciler = Reconciler(deps, lambda: parse(body), self.changed)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Manager:
    """The reconciliations of all objects of one operator."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._running: dict[str, _Reconciliation] = {}  # by uid
        self._last_status = LastStatus(deps.api, deps.now, deps.sleep)

    async def run(self, body: Body, stopped: Stopped) -> None:
        """Reconciles the object until `stopped`, or until the object is gone. `body` always shows its newest version.

        Waits for our finalizer first: without it, a deletion would leave files behind. Raises the error of a
        reconciler that has failed, which is a bug.
        """
        if not await self._has_finalizer(body, stopped):
            return
        uid = body["metadata"]["uid"]
        reconciliation = self._running[uid] = _Reconciliation(self._deps, body)
        running = asyncio.create_task(reconciliation.reconciler.run())
        stopping = asyncio.create_task(_wait(stopped))
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            try:
                await cancel_and_wait(running, stopping)
            finally:
                self._running.pop(uid, None)
                reconciliation.ended.set_result(None)
        _raise_unless_gone(running)

    async def _has_finalizer(self, body: Body, stopped: Stopped) -> bool:
        """Waits until our finalizer is on the object.

        Returns False if the daemon is stopped or the object is gone: kopf may start a daemon for an object that was
        just deleted.
        """
        while FINALIZER not in (body["metadata"].get("finalizers") or ()):
            if await stopped(_FINALIZER_POLL_SECONDS) or not await self._exists(body):
                return False
        return True

    async def _exists(self, body: Body) -> bool:
        """Whether the API server has the object. True if it cannot answer now."""
        metadata = body["metadata"]
        try:
            found = await self._deps.api.get(object_path(metadata["namespace"], metadata["name"]))
        except ApiError as error:
            return not error.is_not_found
        return bool(found["metadata"]["uid"] == metadata["uid"])

    @property
    def uids(self) -> frozenset[str]:
        """The objects that have a running reconciliation."""
        return frozenset(self._running)

    def wake(self, uid: str) -> None:
        """Tells the reconciliation of the object, if there is one, that the object has changed."""
        if uid in self._running:
            self._running[uid].changed.set()

    def has_foreign_status(self, body: Body) -> bool:
        """Whether another client has written the object's status.

        Called for every event, and most events come from our own writes, so that the object is seldom parsed.
        """
        metadata = body["metadata"]
        reconciliation = self._running.get(metadata["uid"])
        if reconciliation is None:
            return False
        return reconciliation.reconciler.has_foreign_status(metadata["resourceVersion"], lambda: parse(body))

    async def release(self, body: Body) -> None:
        """Does all that must happen before our finalizer is removed. Idempotent.

        The reconciliation ends first, then the model leaves the catalog, then its files and records are removed. If the
        object stays, because another program has a finalizer on it, its status says so: it is not Ready any more.
        Raises ProvisionError, or TimeoutError if the volume or the API server does not answer; then call it again.
        """
        download = parse(body)
        reconciliation = self._running.get(download.uid)
        if reconciliation:
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.shield(reconciliation.ended)
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
        store_id = download.status.model.store_id if download.status.model else None
        delete = download.spec.reclaim_policy is ReclaimPolicy.DELETE
        removed = await self._deps.stores.remove(claim, store_id, download.uid, delete)
        _LOG.info("%s/%s released; removed %s", download.namespace, download.name, list(removed) or "no files")
        return removed


async def _wait(stopped: Stopped) -> None:
    await stopped(None)


def _raise_unless_gone(task: asyncio.Task[None]) -> None:
    """Raises the error of a reconciler that has ended by itself, except Gone: the object was deleted."""
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, BaseExceptionGroup):
        _, error = error.split(Gone)
    if error:
        raise error
