"""`python -m tests.support.hasty operator ...`: our program, with seconds of patience where it has minutes.

With a late delivery, so that a test can see the probe of a real process fail; with an error that somebody may put
right, and a volume that may come back; with files that can't be removed; with a worker that says nothing; with the
Lease of another operator; with a refusal, and in its workers with that of a hub that gave bytes before. Its patience
with a silent API server is as it is.
"""

from model_provisioner import cli
from model_provisioner.controller.process import handlers, health, lease
from model_provisioner.controller.process import namespaces as reach
from model_provisioner.controller.reconcile import manager as operator
from model_provisioner.controller.transfers import shared_transfer as sharing
from model_provisioner.domain.lifecycle import backoff
from tests.support.own_workers import start_workers_as

GRACE_SECONDS = 3.0
RETRY_SECONDS = 1.0
RELEASE_SECONDS = 3.0
LEASE_SECONDS = 15
SILENCE_SECONDS = 3.0


if __name__ == "__main__":
    health._GRACE_SECONDS = GRACE_SECONDS
    backoff._SLOW_SECONDS = backoff._VOLUME_SECONDS = RETRY_SECONDS
    handlers._RELEASE_ANYWAY_SECONDS = operator._RELEASE_SECONDS = RELEASE_SECONDS
    sharing._SILENCE_SECONDS = SILENCE_SECONDS
    lease.DURATION_SECONDS, lease._GIVE_UP_SECONDS = LEASE_SECONDS, LEASE_SECONDS - 3.0
    handlers._PAUSES_SECONDS = (1, 1)
    reach._LOOK_AGAIN_SECONDS = RETRY_SECONDS
    start_workers_as("tests.support.hasty_worker")
    raise SystemExit(cli.main())
