"""A model that is Ready: are its files still there and, when somebody asks, still right to the last byte?

Whatever else happens (a pause, an edit, a restart, a hub that is down), Ready is taken back only here.
Called by an attempt before it does anything else.
"""

import asyncio
from collections.abc import Callable

from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.controller.stores.file_monitor import FileMonitor
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.annotations import RECONCILE_AT
from model_provisioner.domain.errors import DigestMismatch, VolumeChanged
from model_provisioner.domain.lifecycle.snapshot import Event, Lost, Rereading, Snapshot, VerifyHandled
from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.paths import is_local
from model_provisioner.worker_protocol import messages


class Recheck:
    """Of the published files of `model` on `claim`; what is found is told to `advance`."""

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
        """False means that it must be fetched again. Raises VolumeChanged, and DigestMismatch for a local file."""
        if not await self._is_there(download.uid):
            return False
        if snapshot.is_to_be_read(download.verify_at) and not await self._is_right(download.uid):
            return False
        self._advance(VerifyHandled(download.verify_at))  # also an end of what an earlier attempt said that it reads
        return True

    async def _is_there(self, uid: str) -> bool:
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
            self._distrust(found.corrupt[0])
        return not (found.missing or found.corrupt)

    async def _is_right(self, uid: str) -> bool:
        """While it waits for its turn, which may take hours, the files are looked after as ever."""
        reading = asyncio.create_task(self._read())
        alarm = asyncio.create_task(self._file_monitor.until_notified(self._claim, self._model))
        try:
            await asyncio.wait({reading, alarm}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(reading, alarm)
        wrong = () if reading.cancelled() else reading.result()
        if not await self._is_there(uid):
            return False
        if reading.cancelled():
            return await self._is_right(uid)
        if wrong:
            self._distrust(wrong[0])
        return not wrong

    async def _read(self) -> tuple[str, ...]:
        return await self._stores.verify(self._claim, self._model.store_id, self._model.files, self._report)

    def _distrust(self, path: str) -> None:
        what = f"{path} is not what it was when it was published"
        if is_local(path):
            self._advance(Lost(what, DigestMismatch.__name__))
            raise DigestMismatch(f"{what}: put the right file there, then annotate with {RECONCILE_AT}")
        self._advance(Lost(f"{what}: the volume has damaged it; fetching it again", DigestMismatch.__name__))

    def _report(self, answer: messages.Progress | messages.VerifyingAnswer) -> None:
        self._advance(Rereading(answer.bytes, answer.total))
