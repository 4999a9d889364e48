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
        self._all: list[SharedTransfer] = []

    async def fetch(self, member: Member) -> messages.Published:
        """The files of `member`'s plan, published and recorded as held by it. Raises ProvisionError."""
        while transfer := self._in_the_way(member):
            if transfer.serves(member):
                return await transfer.share(member)
            member.advance(Queued("waiting for another object that writes the same file"))
            self._services.queue.mark_synced(member.holder.uid)
            await transfer.finished.wait()
        transfer = SharedTransfer(self._services, member, self._all.remove)
        self._all.append(transfer)
        transfer.start()
        return await transfer.share(member)

    def on_update(self, download: ModelDownload) -> None:
        """`download` may have other limits or another priority now, which hold at once."""
        for transfer in self._all:
            if transfer.member(download.uid):
                transfer.on_update()

    def _in_the_way(self, member: Member) -> SharedTransfer | None:
        return next((transfer for transfer in self._all if transfer.is_in_the_way_of(member)), None)
