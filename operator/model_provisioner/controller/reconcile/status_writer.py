"""Writes `.status` of one object. It is the only writer, and writes only what users can use.

The reconciler shows it every snapshot. It decides what is written when: a final state at once, another state after it
has lasted for a second, progress at an interval that grows with the number of active downloads.

A write is a JSON Patch that tests the uid and replaces the whole status. So a new object of the same name is never
written to (the status subresource ignores a uid in a merge patch), and no stale field remains. A status that another
client has written, such as a late request of an operator that lost the Lease, is replaced.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from model_provisioner.controller.reconcile.wakeup import Wakeup
from model_provisioner.domain.lifecycle.snapshot import Snapshot
from model_provisioner.domain.lifecycle.state import State
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.modeldownload import ModelDownload, Status
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import object_path, status_document

_LOG = logging.getLogger(__name__)
_SETTLE_SECONDS = 1.0
_RETRY_SECONDS = 2.0
_REFUSED_SECONDS = 60.0

Transition = Callable[[Status], Awaitable[None]]


class Gone(Exception):
    """The object does not exist any more, or another one has its name."""


class StatusRefused(Exception):
    """The API server refuses the status of an object, and would refuse it again. The text is its message."""


class StatusWriter:
    """The writer of one object. Run `run` as a task.

    `interval` returns the seconds between two writes of progress. `on_transition` is called after a status with a new
    reason of Ready was written, `on_idle` when nothing is left to write.
    """

    def __init__(
        self,
        api: KubeApi,
        download: ModelDownload,
        now: Callable[[], datetime],
        interval: Callable[[], float],
        on_transition: Transition,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._api = api
        self._on_idle = on_idle
        self._is_writing = False
        self._path = object_path(download.namespace, download.name) + "/status"
        self._uid = download.uid
        self._now = now
        self._interval = interval
        self._on_transition = on_transition
        self._sleep = sleep
        self._written = download.status
        self._version = int(download.resource_version or 0)
        self._sending: Status | None = None
        self._overwritten = False
        self._wanted: tuple[Snapshot, int] | None = None
        self._changed = Wakeup()

    def show(self, snapshot: Snapshot, generation: int) -> None:
        """Replaces the snapshot to write; `run` decides when it is written. `generation` is that of its spec."""
        self._wanted = (snapshot, generation)
        self._changed.set()

    def is_newer(self, resource_version: str) -> bool:
        """Whether this version of the object is newer than our last write."""
        return int(resource_version or 0) > self._version

    def is_foreign(self, download: ModelDownload) -> bool:
        """Whether another client wrote its status: it is newer than our last write, and not what we are writing now."""
        return self.is_newer(download.resource_version) and download.status not in (self._written, self._sending)

    def is_up_to_date(self, download: ModelDownload) -> bool:
        """Whether this version of the object has the status that should be written, and no write goes on."""
        pending = self._is_writing or self._changed.future.done()
        return not pending and self._projected() == self._written == download.status

    def on_update(self, download: ModelDownload) -> None:
        """Takes the newest version of the object. A foreign status is replaced after a delay: it may come again."""
        if self.is_foreign(download):
            _LOG.warning("%s was written by another client and is restored", self._path)
            self._written, self._overwritten = download.status, True
            self._version = int(download.resource_version)
            self._changed.set()

    async def run(self) -> None:
        """Writes until cancelled. Raises Gone if the object does not exist any more, StatusRefused (see `flush`)."""
        while True:
            await self._changed.future
            self._is_writing = True
            if self._projected() != self._written:
                await self._wait_until_due()
            self._changed.clear()
            await self.flush()
            self._is_writing = False
            self._on_idle()

    async def flush(self) -> None:
        """Writes the newest snapshot now if it differs from what is written. Raises Gone.

        If the API server cannot take it now, waits as long as it asks for and leaves the write to `run`. Raises
        StatusRefused if it never will, unless the status names no model, or the object is Ready: such a status is
        tried again slowly.
        """
        status = self._projected()
        if status == self._written:
            return
        before, self._sending = self._written, status
        pause = await self._patch(status)
        if pause is not None:
            self._changed.set()
            await self._sleep(pause)
            return
        if _reason(status) != _reason(before):
            await self._on_transition(status)

    def _projected(self) -> Status:
        """The status that should be written."""
        if self._wanted is None:
            return self._written
        snapshot, generation = self._wanted
        return project(snapshot, generation, self._now(), self._written)

    async def _wait_until_due(self) -> None:
        """Returns when the newest snapshot must be written; it may be replaced meanwhile."""
        waited = 0.0
        while not self._is_urgent() and waited < self._delay():
            await self._sleep(0.05)
            waited += 0.05

    def _is_urgent(self) -> bool:
        """Whether a final state begins or Ready ends: users must see these at once."""
        if self._wanted is None or self._overwritten:
            return False
        snapshot, generation = self._wanted
        final = snapshot.ready or snapshot.stalled or snapshot.reason == State.SUSPENDED
        new = snapshot.reason != _reason(self._written) or generation != self._written.observed_generation
        return new and (final or self._written.ready)

    def _delay(self) -> float:
        """Seconds that a snapshot may wait; longer if only its progress is new."""
        if self._wanted and self._wanted[0].reason == _reason(self._written):
            return self._interval()
        return _SETTLE_SECONDS

    async def _patch(self, status: Status) -> float | None:
        """Returns None if the status is written, else the seconds until the next try. Raises Gone."""
        body: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": self._uid},
            {"op": "add", "path": "/status", "value": status_document(status)},
        ]
        try:
            answer = await self._api.patch(self._path, body, kind="json")
        except ApiError as error:
            if error.is_not_found or (error.is_invalid and not await self._has_our_uid()):
                raise Gone from None
            _LOG.warning("status of %s could not be written: %s", self._path, error)
            if not error.is_unacceptable:
                return max(_RETRY_SECONDS, error.retry_after or 0)
            if status.model and not self._written.ready:
                raise StatusRefused(error.message) from None
            return _REFUSED_SECONDS
        self._note(status, int(answer["metadata"]["resourceVersion"]))
        return None

    def _note(self, status: Status, version: int) -> None:
        """Records a successful write. If the watch has already brought a later foreign write, ours is repeated."""
        self._sending = None
        if version < self._version:
            self._changed.set()
        else:
            self._written, self._version, self._overwritten = status, version, False

    async def _has_our_uid(self) -> bool:
        """Whether the object still has our uid: a failed `test` and an invalid status are both answered with 422.

        True if the API server does not say; then the next write finds out.
        """
        try:
            found = await self._api.get(self._path)
        except ApiError as error:
            return not error.is_not_found
        return bool(found["metadata"]["uid"] == self._uid)


def _reason(status: Status) -> str | None:
    ready = status.condition("Ready")
    return ready.reason if ready else None
