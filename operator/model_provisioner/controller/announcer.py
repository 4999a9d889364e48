"""Kubernetes Events: one for each transition that was written to an object's status.

The Event's reason is the condition's reason. Events are for people and never decide anything, so a
failure to post one is logged and forgotten.
"""

import logging
from collections.abc import Callable
from datetime import datetime

from model_provisioner.domain.modeldownload import ModelDownload, Status
from model_provisioner.domain.snapshot import State
from model_provisioner.domain.status import rfc3339
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import API_VERSION, KIND

_LOG = logging.getLogger(__name__)
_COMPONENT = "model-provisioner"
_NORMAL = frozenset(State)
_MESSAGE_LIMIT = 1024


class Announcer:
    """Posts Events about ModelDownloads in the name of `instance`."""

    def __init__(self, api: KubeApi, instance: str, now: Callable[[], datetime]) -> None:
        self._api = api
        self._instance = instance
        self._now = now

    async def transition(self, subject: ModelDownload, status: Status) -> None:
        """The Ready condition has a new reason."""
        ready = status.condition("Ready")
        if ready:
            kind = "Normal" if ready.reason in _NORMAL else "Warning"
            await self.announce(subject, kind, ready.reason, ready.message)

    async def announce(self, subject: ModelDownload, kind: str, reason: str, message: str) -> None:
        """Posts one Event of `kind` Normal or Warning."""
        moment = rfc3339(self._now())
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{subject.name}.", "namespace": subject.namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "namespace": subject.namespace,
                "name": subject.name,
                "uid": subject.uid,
                "resourceVersion": subject.resource_version,
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
        try:
            await self._api.create(f"/api/v1/namespaces/{subject.namespace}/events", body)
        except ApiError as error:
            _LOG.warning("event %s of %s/%s was not posted: %s", reason, subject.namespace, subject.name, error)
