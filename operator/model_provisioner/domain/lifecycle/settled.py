"""Whether an object is settled: it is Ready, and a reconciliation of it would change nothing.

Asked by `controller.reconcile`, which runs nothing for a settled object, and by `controller.app` at the start. Whether
the files still exist is not decided here: `controller.stores.file_monitor` looks at them.
"""

from datetime import datetime

from model_provisioner.domain.lifecycle.events import ReconcileHandled, VerifyHandled
from model_provisioner.domain.lifecycle.snapshot import advance
from model_provisioner.domain.lifecycle.status import project, restore
from model_provisioner.domain.modeldownload import ModelDownload


def is_settled(download: ModelDownload, now: datetime) -> bool:
    """Whether the status is what an attempt that finds nothing to do would write, and every request is handled."""
    status = download.status
    if not status.ready or status.model is None or download.deleting:
        return False
    if status.observed_generation != download.generation:
        return False
    snapshot = restore(status)
    for event in (ReconcileHandled(download.reconcile_at), VerifyHandled(download.verify_at)):
        snapshot = advance(snapshot, event, now)
    return project(snapshot, download.generation, now, status) == status
