"""Confirms what the status of a Ready object says of its files by what the volume knows of their content.

An editor can write any status, and a backup restores one under a new uid. The object's own record confirms it, or the
record of another object with the same bytes; otherwise every byte is read. Called by `attempt` for a Ready object.
"""

from collections.abc import Callable

from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.lifecycle.events import Event, Lost, Rereading
from model_provisioner.domain.modeldownload import Model
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.holders import Holding
from model_provisioner.worker_protocol import messages


class Confirmation:
    """Of the files of `model` on `claim`, which exist with their sizes; `holding` is the same for a record.

    `advance` receives each finding at once.
    """

    def __init__(
        self, stores: StoreClient, claim: Claim, model: Model, holding: Holding, advance: Callable[[Event], None]
    ) -> None:
        self._stores = stores
        self._claim = claim
        self._model = model
        self._holding = holding
        self._advance = advance

    async def is_confirmed(self) -> bool:
        """Returns False if the model must be fetched again; the object is not Ready then."""
        if not await self._is_attested():
            await self._stores.record_ready(self._claim, self._model.store_id, (self._holding,))
            if not (await self._is_attested() or await self._is_read()):
                what = f"the volume does not confirm what the status says of {self._model.path}; fetching it again"
                self._advance(Lost(what))
                return False
        return True

    async def _is_attested(self) -> bool:
        model = self._model
        found = await self._stores.check(self._claim, model.store_id, model.files, self._holding.holder.uid)
        return not (found.missing or found.unattested)

    async def _is_read(self) -> bool:
        """Reads every byte, and records that it is right. No other object's record is changed if it is not."""
        model = self._model
        wrong = await self._stores.verify(
            self._claim, model.store_id, model.files, self._on_progress, mark_corrupt=False
        )
        if wrong:
            return False
        answer = await self._stores.record_ready(self._claim, model.store_id, (self._holding,), verified=True)
        return not answer.without

    def _on_progress(self, answer: messages.Progress | messages.VerifyingAnswer) -> None:
        self._advance(Rereading(answer.bytes, answer.total))
