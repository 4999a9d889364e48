"""`python -m tests.support.stuck operator ...`: our program, with a queue that serves nobody, and little patience."""

from model_provisioner import cli
from model_provisioner.controller.process import health
from model_provisioner.controller.transfers.queue import TransferQueue
from tests.support.hasty import GRACE_SECONDS


def serve_nobody(self: TransferQueue) -> None:
    """Whatever is free, and whoever waits."""


if __name__ == "__main__":
    health._GRACE_SECONDS = GRACE_SECONDS
    TransferQueue._dispatch = serve_nobody  # type: ignore[method-assign]
    raise SystemExit(cli.main())
