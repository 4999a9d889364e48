"""`python -m tests.support.hasty operator ...`: our program with waits of seconds that otherwise last minutes.

Shortened: the grace period of the probes, the backoff of errors that wait for a user or for a volume, the time until
an object is deleted without its files, the silence of a worker, the duration of the Lease, kopf's retries of a
refused watch, and in its workers the time until a refusal of the hub counts. The time that a watch may be silent is
not shortened.
"""

from model_provisioner import cli
from model_provisioner.controller.process import handlers, health, namespaces
from model_provisioner.controller.reconcile import manager
from model_provisioner.controller.transfers import shared_transfer
from model_provisioner.domain import liveness
from model_provisioner.domain.lifecycle import backoff
from model_provisioner.domain.liveness import LeaseTerms
from tests.support.own_workers import start_workers_as

GRACE_SECONDS = 3.0
RETRY_SECONDS = 1.0
RELEASE_SECONDS = 3.0
LEASE_SECONDS = 15
SILENCE_SECONDS = 3.0


if __name__ == "__main__":
    health._GRACE_SECONDS = GRACE_SECONDS
    backoff._SLOW_SECONDS = backoff._VOLUME_SECONDS = RETRY_SECONDS
    handlers._RELEASE_ANYWAY_SECONDS = manager._RELEASE_SECONDS = RELEASE_SECONDS
    shared_transfer._SILENCE_SECONDS = SILENCE_SECONDS
    liveness.ALONE = liveness.SHARED = LeaseTerms(LEASE_SECONDS, LEASE_SECONDS - 3.0, liveness.SHARED.poll)
    handlers._ERROR_BACKOFFS_SECONDS = (1, 1)
    namespaces._RECHECK_SECONDS = RETRY_SECONDS
    start_workers_as("tests.support.hasty_worker")
    raise SystemExit(cli.main())
