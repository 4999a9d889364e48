"""Kubernetes Events and the log: what was written to an object's status, for people, and never to decide anything.

The Event's reason is the condition's reason. There is one Event for each object and reason; when the
reason comes back, that one counts up and tells the newest message. So a download that is tried again
for a week leaves a handful of Events. A failure to post one is logged and forgotten. The log has one
line for each new reason, and none about progress.
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
_BEFORE_ANYTHING_HAPPENS = frozenset({State.RESOLVING, State.QUEUED})
_FILE_MISSING = "FileMissing"
_MESSAGE_LIMIT = 1024


class EventRecorder:
    """Posts Events about ModelDownloads in the name of `instance`."""

    def __init__(self, api: KubeApi, instance: str, now: Callable[[], datetime]) -> None:
        self._api = api
        self._instance = instance
        self._now = now

    async def transition(self, download: ModelDownload, status: Status) -> None:
        """The Ready condition has a new reason. That an object waits is no event: its status and the log say so.

        What `loss` has told of is not told again when it reaches the status.
        """
        ready = status.condition("Ready")
        if ready is None or _is_loss(status, ready):
            return
        _log(download, ready, logging.WARNING if status.stalled else logging.INFO)
        if ready.reason not in _BEFORE_ANYTHING_HAPPENS:
            kind = "Normal" if ready.reason in _NORMAL else "Warning"
            await self.record(download, kind, ready.reason, ready.message)

    async def loss(self, download: ModelDownload, lost: Lost) -> None:
        """A published file is gone or damaged and is fetched again, perhaps before any status could tell of it."""
        _LOG.warning("%s/%s: %s", download.namespace, download.name, lost.message)
        reason = _FILE_MISSING if lost.reason == State.RESOLVING else lost.reason
        await self.record(download, "Warning", reason, lost.message)

    async def record(self, download: ModelDownload, kind: str, reason: str, message: str) -> None:
        """Posts one Event of `kind` Normal or Warning, or counts up the one with this reason."""
        event = self._event(download, kind, reason, message)
        try:
            await self._post(f"/api/v1/namespaces/{download.namespace}/events", event)
        except ApiError as error:
            _LOG.warning("event %s of %s/%s was not posted: %s", reason, download.namespace, download.name, error)

    async def _post(self, collection: str, event: dict[str, Any]) -> None:
        """The name is derived, so whether there was one before is known to the API server, also after a restart."""
        try:
            await self._api.create(collection, event)
        except ApiError as error:
            if not error.is_conflict:
                raise
            await self._count_up(f"{collection}/{event['metadata']['name']}", event)

    async def _count_up(self, path: str, event: dict[str, Any]) -> None:
        try:
            before = await self._api.get(path)
            again = {"message": event["message"], "lastTimestamp": event["lastTimestamp"]}
            await self._api.patch(path, {**again, "count": before.get("count", 0) + 1})
        except ApiError as error:
            if not error.is_not_found:  # it has just expired: the next one is the first again
                raise

    def _event(self, download: ModelDownload, kind: str, reason: str, message: str) -> dict[str, Any]:
        moment = rfc3339(self._now())
        mark = hashlib.sha256(f"{download.uid}\n{reason}".encode()).hexdigest()[:16]
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{download.name}.{mark}", "namespace": download.namespace},
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
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
            "source": {"component": _COMPONENT},
            "reportingComponent": _COMPONENT,
            "reportingInstance": self._instance,
        }


def _is_loss(status: Status, ready: Condition) -> bool:
    """Wrong bytes stall an object, unless they are those of a published file that is fetched again."""
    return ready.reason == DigestMismatch.__name__ and not status.stalled


def _log(download: ModelDownload, ready: Condition, level: int) -> None:
    """One line, whatever the message holds: some of it is what a source has answered."""
    message = "".join(char if char.isprintable() else " " for char in ready.message)
    _LOG.log(level, "%s/%s: %s: %s", download.namespace, download.name, ready.reason, message)
