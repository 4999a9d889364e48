"""Posts Kubernetes Events: one for each object and reason, whose count rises if the reason comes back.

`controller.reconcile.event_recorder` uses it for ModelDownloads, `controller.gates` for pods. What is told, and when,
is decided there. Nothing is decided from an Event, so one that cannot be posted is logged and dropped.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model_provisioner.domain.lifecycle.status import rfc3339
from model_provisioner.kube.client import ApiError, KubeApi

_LOG = logging.getLogger(__name__)
_COMPONENT = "model-provisioner"
_MESSAGE_LIMIT = 1024
_NAME_LIMIT = 220  # with the suffix it stays below the limit of 253 for a name


@dataclass(frozen=True, slots=True)
class Involved:
    """The object that an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str


class EventPoster:
    """`instance` is the reportingInstance: the name of the operator's pod."""

    def __init__(self, api: KubeApi, instance: str, now: Callable[[], datetime]) -> None:
        self._api = api
        self._instance = instance
        self._now = now

    async def post(self, involved: Involved, kind: str, reason: str, message: str) -> None:
        """Posts an Event of `kind` Normal or Warning, or raises the count of the one with this reason."""
        collection = f"/api/v1/namespaces/{involved.namespace}/events"
        try:
            await self._post(collection, self._event(involved, kind, reason, message))
        except ApiError as error:
            _LOG.warning("event %s of %s/%s was not posted: %s", reason, involved.namespace, involved.name, error)

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

    def _event(self, involved: Involved, kind: str, reason: str, message: str) -> dict[str, Any]:
        timestamp = rfc3339(self._now())
        suffix = hashlib.sha256(f"{involved.uid}\n{reason}".encode()).hexdigest()[:16]
        beginning = involved.name[:_NAME_LIMIT].rstrip("-.")
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{beginning}.{suffix}", "namespace": involved.namespace},
            "involvedObject": {
                "apiVersion": involved.api_version,
                "kind": involved.kind,
                "namespace": involved.namespace,
                "name": involved.name,
                "uid": involved.uid,
                "resourceVersion": involved.resource_version,
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
