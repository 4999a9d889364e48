"""A model that is Ready: are its files still there and, when somebody asks, still right to the last byte?

Whatever else happens (a pause, an edit, a restart, a hub that is down), Ready is taken back only here.
Called by an attempt before it does anything else.
"""

from collections.abc import Callable

from model_provisioner.controller.stores import Claim, Stores
from model_provisioner.domain.errors import DigestMismatch, VolumeChanged
from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.domain.paths import is_local
from model_provisioner.domain.snapshot import Event, Lost, Rereading, Snapshot, VerifyHandled
from model_provisioner.transfer import protocol


class Upkeep:
    """Of the published files of `model` on `claim`; what is found is told to `advance`."""

    def __init__(self, stores: Stores, claim: Claim, model: Model, advance: Callable[[Event], None]) -> None:
        self._stores = stores
        self._claim = claim
        self._model = model
        self._advance = advance

    async def is_intact(self, subject: ModelDownload, snapshot: Snapshot) -> bool:
        """False means that it must be fetched again. Raises VolumeChanged, and DigestMismatch for a local file."""
        if not await self._is_there():
            return False
        asked = subject.verify_at not in {None, snapshot.handled_verify_at}
        if asked and not await self._is_right():
            return False
        self._advance(VerifyHandled(subject.verify_at))  # also an end of what an earlier attempt said that it reads
        return True

    async def _is_there(self) -> bool:
        model = self._model
        try:
            missing = await self._stores.missing(self._claim, model.store_id, model.files)
        except VolumeChanged as error:
            self._advance(Lost(error.message))
            raise
        if missing:
            where = f"claim {self._claim.name}"
            self._advance(Lost(f"{missing[0]} is gone from {where} or has another size; fetching it again"))
        return not missing

    async def _is_right(self) -> bool:
        model = self._model
        wrong = await self._stores.wrong(self._claim, model.store_id, model.files, self._report)
        if wrong:
            self._distrust(wrong[0])
        return not wrong

    def _distrust(self, path: str) -> None:
        what = f"{path} is not what it was when it was published"
        if is_local(path):
            self._advance(Lost(what, DigestMismatch.__name__))
            raise DigestMismatch(f"{what}: put the right file there, then annotate with models.rbee.dev/reconcileAt")
        self._advance(Lost(f"{what}: the volume has damaged it; fetching it again", DigestMismatch.__name__))

    def _report(self, answer: protocol.Progress | protocol.Verifying) -> None:
        self._advance(Rereading(answer.bytes, answer.total))
