"""All transfers that run or wait in the queue. An object that wants the same bytes at the same place joins one.

Two transfers never write one file: an object that wants other bytes there waits until the transfer has ended. Called by
`controller.reconcile`. What one transfer does is in `controller.transfers.shared_transfer`.
"""

from model_provisioner.controller.transfers.members import Member
from model_provisioner.controller.transfers.services import TransferServices
from model_provisioner.controller.transfers.shared_transfer import SharedTransfer
from model_provisioner.domain.lifecycle.events import Queued
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.worker_protocol import messages


class Transfers:
    """The transfers of one operator; `services` are handed to each."""

    def __init__(self, services: TransferServices) -> None:
        self._services = services
        self._transfers: list[SharedTransfer] = []

    async def fetch(self, member: Member) -> messages.Published:
        """Returns when the files of the member's plan are published and recorded as held by it. Raises ProvisionError.

        If the caller is cancelled, nothing is written for this member any more when this returns.
        """
        while transfer := self._conflicting(member):
            if transfer.accepts(member):
                return await transfer.join(member)
            member.on_event(Queued("waiting for another object that writes the same file"))
            self._services.queues.mark_synced(member.holder.uid)
            await transfer.finished.wait()
        transfer = SharedTransfer(self._services, member, self._transfers.remove)
        self._transfers.append(transfer)
        transfer.start()
        return await transfer.join(member)

    def on_update(self, download: ModelDownload) -> None:
        """Applies the limits and the priority of `download`, which may have changed, at once."""
        for transfer in self._transfers:
            if transfer.has_member(download.uid):
                transfer.on_update()

    def _conflicting(self, member: Member) -> SharedTransfer | None:
        return next((transfer for transfer in self._transfers if transfer.conflicts_with(member)), None)
