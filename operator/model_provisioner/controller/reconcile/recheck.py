"""Checks the published files of a Ready model: their existence and size and, if `verifyAt` asks for it, every byte.

Called by `attempt` before it does anything else. Only a failed check here ends Ready: a pause, an edit, a restart or
an unreachable hub does not. What follows from a lost file is decided in `attempt`.
"""

import asyncio
from collections.abc import Callable

from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.controller.stores.file_monitor import FileMonitor
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.annotations import RECONCILE_AT
from model_provisioner.domain.errors import DigestMismatch, VolumeChanged
from model_provisioner.domain.lifecycle.events import Event, Lost, Rereading, VerifyHandled
from model_provisioner.domain.lifecycle.snapshot import Snapshot
from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.paths import is_local
from model_provisioner.worker_protocol import messages


class Recheck:
    """One check of the published files of `model` on `claim`; `advance` receives each finding at once."""

    def __init__(
        self,
        stores: StoreClient,
        file_monitor: FileMonitor,
        claim: Claim,
        model: Model,
        advance: Callable[[Event], None],
    ) -> None:
        self._stores = stores
        self._file_monitor = file_monitor
        self._claim = claim
        self._model = model
        self._advance = advance

    async def is_intact(self, download: ModelDownload, snapshot: Snapshot) -> bool:
        """Returns False if the model must be fetched again.

        Raises VolumeChanged if another volume is mounted, and DigestMismatch if a local file is wrong.
        """
        if not await self._exists(download.uid):
            return False
        if snapshot.is_verification_requested(download.verify_at) and not await self._has_right_bytes(download.uid):
            return False
        self._advance(VerifyHandled(download.verify_at))  # also removes an earlier attempt's message about the reading
        return True

    async def _exists(self, uid: str) -> bool:
        """Whether every file has its size and no record says that its bytes are wrong."""
        model = self._model
        try:
            found = await self._stores.check(self._claim, model.store_id, model.files, uid)
        except VolumeChanged as error:
            self._advance(Lost(error.message))
            raise
        if found.missing:
            where = f"claim {self._claim.name}"
            self._advance(Lost(f"{found.missing[0]} is gone from {where} or has another size; fetching it again"))
        elif found.corrupt:
            self._report_damage(found.corrupt[0])
        return not (found.missing or found.corrupt)

    async def _has_right_bytes(self, uid: str) -> bool:
        """Whether every byte is right. Reading may last hours; a notification of the file monitor interrupts it."""
        reading = asyncio.create_task(self._read())
        notified = asyncio.create_task(self._file_monitor.until_notified(self._claim, self._model))
        try:
            await asyncio.wait({reading, notified}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(reading, notified)
        wrong = () if reading.cancelled() else reading.result()
        if not await self._exists(uid):
            return False
        if reading.cancelled():
            return await self._has_right_bytes(uid)
        if wrong:
            self._report_damage(wrong[0])
        return not wrong

    async def _read(self) -> tuple[str, ...]:
        """The paths of the files whose bytes are wrong."""
        return await self._stores.verify(self._claim, self._model.store_id, self._model.files, self._on_progress)

    def _report_damage(self, path: str) -> None:
        """Ends Ready. Raises DigestMismatch if the file is local: then it cannot be fetched again."""
        what = f"{path} is not what it was when it was published"
        if is_local(path):
            self._advance(Lost(what, DigestMismatch.__name__))
            raise DigestMismatch(f"{what}: put the right file there, then annotate with {RECONCILE_AT}")
        self._advance(Lost(f"{what}: the volume has damaged it; fetching it again", DigestMismatch.__name__))

    def _on_progress(self, answer: messages.Progress | messages.VerifyingAnswer) -> None:
        self._advance(Rereading(answer.bytes, answer.total))
