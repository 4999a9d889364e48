"""Kubernetes Events and log lines about the changes of an object's status. Nothing is decided from them.

The Event's reason is the condition's reason. There is one Event per object and reason: if the reason comes back, its
count rises and its message is replaced, so that a download that is retried for a week leaves a few Events. An Event
that cannot be posted is logged and dropped. The log has one line per new reason, and none about progress.

Called by `status_writer`, through `reconciler`, after a status is written, and by `attempt` and `manager`.
"""

import hashlib
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from model_provisioner.domain.errors import DigestMismatch
from model_provisioner.domain.lifecycle.events import Lost
from model_provisioner.domain.lifecycle.state import State
from model_provisioner.domain.lifecycle.status import rfc3339
from model_provisioner.domain.modeldownload import Condition, ModelDownload, Status
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import API_VERSION, KIND

_LOG = logging.getLogger(__name__)
_COMPONENT = "model-provisioner"
_NORMAL = frozenset(State)
_WITHOUT_EVENT = frozenset({State.RESOLVING, State.QUEUED})
_FILE_MISSING = "FileMissing"
_MESSAGE_LIMIT = 1024


class EventRecorder:
    """Posts Events about ModelDownloads. `instance` is the reportingInstance: the name of the operator's pod."""

    def __init__(self, api: KubeApi, instance: str, now: Callable[[], datetime]) -> None:
        self._api = api
        self._instance = instance
        self._now = now

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
        event = self._event(download, kind, reason, message)
        try:
            await self._post(f"/api/v1/namespaces/{download.namespace}/events", event)
        except ApiError as error:
            _LOG.warning("event %s of %s/%s was not posted: %s", reason, download.namespace, download.name, error)

    async def _post(self, collection: str, event: dict[str, Any]) -> None:
        """Creates the Event. Its name is derived from uid and reason, so a conflict means that there is one already."""
        try:
            await self._api.create(collection, event)
        except ApiError as error:
            if not error.is_conflict:
                raise
            await self._increment(f"{collection}/{event['metadata']['name']}", event)

    async def _increment(self, path: str, event: dict[str, Any]) -> None:
        try:
            before = await self._api.get(path)
            newest = {"message": event["message"], "lastTimestamp": event["lastTimestamp"]}
            await self._api.patch(path, {**newest, "count": before.get("count", 0) + 1})
        except ApiError as error:
            if not error.is_not_found:  # the Event has just expired; the next one starts at 1
                raise

    def _event(self, download: ModelDownload, kind: str, reason: str, message: str) -> dict[str, Any]:
        timestamp = rfc3339(self._now())
        suffix = hashlib.sha256(f"{download.uid}\n{reason}".encode()).hexdigest()[:16]
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{download.name}.{suffix}", "namespace": download.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "namespace": download.namespace,
                "name": download.name,
                "uid": download.uid,
                "resourceVersion": download.resource_version,
            },
            "type": kind,
            "reason": reason,
            "message": message[:_MESSAGE_LIMIT],
            "firstTimestamp": timestamp,
            "lastTimestamp": timestamp,
            "count": 1,
            "source": {"component": _COMPONENT},
            "reportingComponent": _COMPONENT,
            "reportingInstance": self._instance,
        }


def _is_loss(status: Status, ready: Condition) -> bool:
    """Whether wrong bytes of a published file are fetched again. Wrong bytes of a transfer stall the object instead."""
    return ready.reason == DigestMismatch.__name__ and not status.stalled


def _log(download: ModelDownload, ready: Condition, level: int) -> None:
    """Logs one line. Unprintable characters become spaces: parts of the message come from the hub's answer."""
    message = "".join(char if char.isprintable() else " " for char in ready.message)
    _LOG.log(level, "%s/%s: %s: %s", download.namespace, download.name, ready.reason, message)
