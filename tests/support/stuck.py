"""`python -m tests.support.stuck operator ...`: our program with a queue that grants no slot, and short waits."""

from model_provisioner import cli
from model_provisioner.controller.process import health
from model_provisioner.controller.transfers.queue import TransferQueue
from tests.support.hasty import GRACE_SECONDS


def grant_nothing(self: TransferQueue) -> None:
    """Leaves every slot free and every object waiting."""


if __name__ == "__main__":
    health._GRACE_SECONDS = GRACE_SECONDS
    TransferQueue._dispatch = grant_nothing  # type: ignore[method-assign]
    raise SystemExit(cli.main())
