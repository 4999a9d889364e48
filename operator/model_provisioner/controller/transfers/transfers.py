"""All transfers that run or wait in the queue: who wants what is on its way already joins it.

Two transfers never write one file: who wants other bytes where some are being written waits. Called by
the attempts of all objects.
"""

from model_provisioner.controller.transfers.shared_transfer import Member, SharedTransfer, TransferServices
from model_provisioner.domain.lifecycle.snapshot import Queued
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.worker_protocol import messages


class Transfers:
    """Those of one operator, made with its `services`."""

    def __init__(self, services: TransferServices) -> None:
        self._services = services
        self._transfers: list[SharedTransfer] = []

    async def fetch(self, member: Member) -> messages.Published:
        """The files of `member`'s plan, published and recorded as held by it. Raises ProvisionError."""
        while transfer := self._conflicting(member):
            if transfer.accepts(member):
                return await transfer.join(member)
            member.on_event(Queued("waiting for another object that writes the same file"))
            self._services.queue.mark_synced(member.holder.uid)
            await transfer.finished.wait()
        transfer = SharedTransfer(self._services, member, self._transfers.remove)
        self._transfers.append(transfer)
        transfer.start()
        return await transfer.join(member)

    def on_update(self, download: ModelDownload) -> None:
        """`download` may have other limits or another priority now, which hold at once."""
        for transfer in self._transfers:
            if transfer.has_member(download.uid):
                transfer.on_update()

    def _conflicting(self, member: Member) -> SharedTransfer | None:
        return next((transfer for transfer in self._transfers if transfer.conflicts_with(member)), None)
