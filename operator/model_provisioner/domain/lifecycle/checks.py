"""When the files on a claim that only worker pods mount were last seen, as the status says it. Pure.

An attempt that has seen them writes the status anyway. What a visit of a worker pod has seen is written at most once an
hour for an object: `controller.reconcile.check_times` asks here whether it is due.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from model_provisioner.domain.modeldownload import Model, ModelDownload

INTERVAL = timedelta(hours=1)


def seen(model: Model, now: datetime, volume_name: str | None) -> Model:
    """`model`, of which every file was seen at `now` (UTC), on the volume `volume_name`; None if that is not known."""
    at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return replace(model, last_check_time=at, volume_name=volume_name or model.volume_name)


def is_due(model: Model, now: datetime, volume_name: str | None) -> bool:
    """Whether what was seen at `now` must be written: the volume has another name, or the last time is an hour ago.

    An editor can write any time: one in the future counts as none.
    """
    if volume_name not in {None, model.volume_name} or model.last_check_time is None:
        return True
    last = datetime.fromisoformat(model.last_check_time)
    return not timedelta() <= now - last < INTERVAL


def is_same(before: ModelDownload, after: ModelDownload) -> bool:
    """Whether `after` differs from `before` only in these fields, and in what no attempt acts on."""
    return _comparable(before) == _comparable(after)


def _comparable(download: ModelDownload) -> ModelDownload:
    status = download.status
    model = status.model and replace(status.model, last_check_time=None, volume_name=None)
    return replace(download, resource_version="", status=replace(status, model=model))
