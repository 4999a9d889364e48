"""The operator's memory: which objects live, and the way out for those that are deleted.

Between kopf's handlers, which are thin, and the classes that know nothing of kopf. Rebuilt from the
objects after every restart.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.controller.reconcile.dependencies import Dependencies
from model_provisioner.controller.reconcile.reconciler import Reconciler
from model_provisioner.controller.reconcile.status_writer import Gone
from model_provisioner.controller.reconcile.wakeup import Wakeup
from model_provisioner.domain.errors import ClaimNotMounted
from model_provisioner.domain.modeldownload import ModelDownload, ReclaimPolicy
from model_provisioner.kube.client import ApiError
from model_provisioner.kube.resource import FINALIZER, object_path, parse

_LOG = logging.getLogger(__name__)
_STOP_SECONDS = 10.0
_RELEASE_SECONDS = 20.0  # of one try; who waits longer would not be told of in time
_FINALIZER_POLL_SECONDS = 0.2

Body = Mapping[str, Any]


class _Life:
    """One lifecycle: how to wake it, and how to know that it has ended."""

    def __init__(self, deps: Dependencies, body: Body) -> None:
        self.changed = Wakeup()
        self.reconciler = Reconciler(deps, lambda: parse(body), self.changed)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Manager:
    """Starts, wakes and ends the lifecycles of all objects."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._lives: dict[str, _Life] = {}

    async def live(self, body: Body, stopped: Callable[[float | None], Awaitable[object]]) -> None:
        """Runs the object's lifecycle until `stopped`; `body` is a live view. Returns early if the object is gone.

        Nothing is done before our finalizer is visible: without it a deletion would leave files behind.
        """
        if not await self._is_held(body, stopped):
            return
        life = self._lives[body["metadata"]["uid"]] = _Life(self._deps, body)
        running = asyncio.create_task(life.reconciler.run())
        stopping = asyncio.create_task(_wait(stopped))
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            try:
                await cancel_and_wait(running, stopping)
            finally:
                self._lives.pop(body["metadata"]["uid"], None)
                life.ended.set_result(None)
        _raise_unless_gone(running)

    async def _is_held(self, body: Body, stopped: Callable[[float | None], Awaitable[object]]) -> bool:
        """Waits for our finalizer. False where it will never come: kopf may start a daemon for an object just gone."""
        while FINALIZER not in (body["metadata"].get("finalizers") or ()):
            if await stopped(_FINALIZER_POLL_SECONDS) or not await self._exists(body):
                return False
        return True

    async def _exists(self, body: Body) -> bool:
        metadata = body["metadata"]
        try:
            found = await self._deps.api.get(object_path(metadata["namespace"], metadata["name"]))
        except ApiError as error:
            return not error.is_not_found
        return bool(found["metadata"]["uid"] == metadata["uid"])

    @property
    def uids(self) -> frozenset[str]:
        """The objects that live."""
        return frozenset(self._lives)

    def wake(self, uid: str) -> None:
        """Something about the object has changed."""
        if uid in self._lives:
            self._lives[uid].changed.set()

    def is_contested(self, body: Body) -> bool:
        """Has somebody else written its status? Asked of every event, most of which tell of our own writes."""
        metadata = body["metadata"]
        life = self._lives.get(metadata["uid"])
        return life is not None and life.reconciler.is_contested(metadata["resourceVersion"], lambda: parse(body))

    async def release(self, body: Body) -> None:
        """Everything that must happen before the object may go; idempotent. Raises ProvisionError or TimeoutError.

        Its lifecycle ends first, then the catalog forgets it, then its files and records go. A volume or an API server
        that does not answer is not waited for: it is tried again.
        """
        download = parse(body)
        life = self._lives.get(download.uid)
        if life:
            async with asyncio.timeout(_STOP_SECONDS):
                await asyncio.shield(life.ended)
        async with asyncio.timeout(_RELEASE_SECONDS):
            await self._deps.catalog.leave(download)
            await self._remove_files(download)

    async def postpone_cleanup(self, body: Body, why: str) -> None:
        """The object goes although its files could not be removed now; the volume is tidied up later."""
        download = parse(body)
        message = f"released without removing its files: {why}"
        await self._deps.event_recorder.record(download, "Warning", "CleanupPostponed", message)

    async def _remove_files(self, download: ModelDownload) -> None:
        try:
            claim = self._deps.stores.claim_of(download)
        except ClaimNotMounted:
            return  # then it never held anything here
        store_id = download.status.model.store_id if download.status.model else None
        delete = download.spec.reclaim_policy is ReclaimPolicy.DELETE
        removed = await self._deps.stores.remove(claim, store_id, download.uid, delete)
        _LOG.info("%s/%s released; removed %s", download.namespace, download.name, list(removed) or "no files")


async def _wait(stopped: Callable[[float | None], Awaitable[object]]) -> None:
    await stopped(None)


def _raise_unless_gone(task: asyncio.Task[None]) -> None:
    """A lifecycle ends by itself only when its object is gone; anything else is a bug and must be seen."""
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, BaseExceptionGroup):
        _, error = error.split(Gone)
    if error:
        raise error
