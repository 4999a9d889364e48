"""Kubernetes Events and log lines about the changes of an object's status. Nothing is decided from them.

The Event's reason is the condition's reason. There is one Event per object and reason: if the reason comes back, its
count rises and its message is replaced, so that a download that is retried for a week leaves a few Events. An Event
that cannot be posted is logged and dropped. The log has one line per new reason, and none about progress.

Called by `status_writer`, through `reconciler`, after a status is written, and by `attempt` and `manager`.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from model_provisioner.domain.errors import DigestMismatch
from model_provisioner.domain.lifecycle.events import Lost
from model_provisioner.domain.lifecycle.state import State
from model_provisioner.domain.modeldownload import Condition, ModelDownload, Status
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.events import EventPoster, Involved
from model_provisioner.kube.resource import API_VERSION, KIND

_LOG = logging.getLogger(__name__)
_NORMAL = frozenset(State)
_WITHOUT_EVENT = frozenset({State.RESOLVING, State.QUEUED})
_FILE_MISSING = "FileMissing"


class EventRecorder:
    """Posts Events about ModelDownloads. `instance` is the reportingInstance: the name of the operator's pod."""

    def __init__(self, api: KubeApi, instance: str, now: Callable[[], datetime]) -> None:
        self._poster = EventPoster(api, instance, now)

    async def transition(self, download: ModelDownload, status: Status) -> None:
        """Logs the new reason of the Ready condition and posts its Event.

        There is no Event while an object waits: the status and the log are enough. A loss was already reported by
        `loss` when it reaches the status.
        """
        ready = status.condition("Ready")
        if ready is None or _is_loss(status, ready):
            return
        _log(download, ready, logging.WARNING if status.stalled else logging.INFO)
        if ready.reason not in _WITHOUT_EVENT:
            kind = "Normal" if ready.reason in _NORMAL else "Warning"
            await self.record(download, kind, ready.reason, ready.message)

    async def loss(self, download: ModelDownload, lost: Lost) -> None:
        """Reports at once that a published file is lost: it may be fetched again before a status is written."""
        _LOG.warning("%s/%s: %s", download.namespace, download.name, lost.message)
        reason = _FILE_MISSING if lost.reason == State.RESOLVING else lost.reason
        await self.record(download, "Warning", reason, lost.message)

    async def record(self, download: ModelDownload, kind: str, reason: str, message: str) -> None:
        """Posts an Event of `kind` Normal or Warning, or raises the count of the one that has this reason."""
        involved = Involved(
            API_VERSION, KIND, download.namespace, download.name, download.uid, download.resource_version
        )
        await self._poster.post(involved, kind, reason, message)


def _is_loss(status: Status, ready: Condition) -> bool:
    """Whether wrong bytes of a published file are fetched again. Wrong bytes of a transfer stall the object instead."""
    return ready.reason == DigestMismatch.__name__ and not status.stalled


def _log(download: ModelDownload, ready: Condition, level: int) -> None:
    """Logs one line. Unprintable characters become spaces: parts of the message come from the hub's answer."""
    message = "".join(char if char.isprintable() else " " for char in ready.message)
    _LOG.log(level, "%s/%s: %s: %s", download.namespace, download.name, ready.reason, message)
