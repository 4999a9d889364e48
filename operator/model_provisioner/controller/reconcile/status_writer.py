"""Writes `.status` of one object: the only writer there is, and it writes seldom.

The lifecycle shows it every snapshot; it writes what people can use: transitions that last (a state
shorter than a second is skipped, an end is written at once) and progress at an interval that grows
with the number of active downloads. A JSON Patch that tests the object's uid and replaces the whole
status: an object of the same name that was created anew is never written to (the status subresource
ignores a uid in a merge-patch), and no stale field stays behind. What another one writes, such as a late request of
an operator that has lost the Lease, is put right.
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

Transition = Callable[[Status], Awaitable[None]]


class Gone(Exception):
    """The object is no longer there, or another one has its name."""


class StatusWriter:
    """`interval` gives the seconds between two writes of mere progress; `on_transition` hears of each new reason."""

    def __init__(
        self,
        api: KubeApi,
        download: ModelDownload,
        now: Callable[[], datetime],
        interval: Callable[[], float],
        on_transition: Transition,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._path = object_path(download.namespace, download.name) + "/status"
        self._uid = download.uid
        self._now = now
        self._interval = interval
        self._on_transition = on_transition
        self._sleep = sleep
        self._written = download.status
        self._version = int(download.resource_version or 0)
        self._sending: Status | None = None
        self._contested = False
        self._wanted: tuple[Snapshot, int] | None = None
        self._changed = Wakeup()

    def show(self, snapshot: Snapshot, generation: int) -> None:
        """Take note of the newest snapshot; it is written when `run` finds it worth it."""
        self._wanted = (snapshot, generation)
        self._changed.set()

    def is_behind(self, resource_version: str) -> bool:
        """Is this version of the object newer than what we have written last?"""
        return int(resource_version or 0) > self._version

    def disowns(self, download: ModelDownload) -> bool:
        """Is its status neither what we have written last nor what we are writing?"""
        return self.is_behind(download.resource_version) and download.status not in (self._written, self._sending)

    def on_update(self, download: ModelDownload) -> None:
        """The object as it is now. A status that is not ours is put right, in no hurry: its writer may come again."""
        if self.disowns(download):
            _LOG.warning("%s was written by somebody else and is put right", self._path)
            self._written, self._contested = download.status, True
            self._version = int(download.resource_version)
            self._changed.set()

    async def run(self) -> None:
        """Writes until cancelled. Raises Gone when there is nothing left to write to."""
        while True:
            await self._changed.future
            if self._projected() != self._written:
                await self._let_it_settle()
            self._changed.clear()
            await self.flush()

    async def flush(self) -> None:
        """Writes now what was shown last, if it differs from what is written. Raises Gone."""
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
        """What the status should be now."""
        if self._wanted is None:
            return self._written
        snapshot, generation = self._wanted
        return project(snapshot, generation, self._now(), self._written)

    async def _let_it_settle(self) -> None:
        waited = 0.0
        while not self._urgent() and waited < self._patience():
            await self._sleep(0.05)
            waited += 0.05

    def _urgent(self) -> bool:
        """An end, or a step back from an end: nobody should wait for these, or see them late."""
        if self._wanted is None or self._contested:
            return False
        snapshot, generation = self._wanted
        over = snapshot.ready or snapshot.stalled or snapshot.reason == State.SUSPENDED
        new = snapshot.reason != _reason(self._written) or generation != self._written.observed_generation
        return new and (over or self._written.ready)

    def _patience(self) -> float:
        if self._wanted and self._wanted[0].reason == _reason(self._written):
            return self._interval()
        return _SETTLE_SECONDS

    async def _patch(self, status: Status) -> float | None:
        """None: it is written; else in how many seconds it is worth trying again. Raises Gone."""
        body: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": self._uid},
            {"op": "add", "path": "/status", "value": status_document(status)},
        ]
        try:
            answer = await self._api.patch(self._path, body, kind="json")
        except ApiError as error:
            if error.is_not_found or (error.is_invalid and not await self._is_ours()):
                raise Gone from None
            _LOG.warning("status of %s could not be written: %s", self._path, error)
            return max(_RETRY_SECONDS, error.retry_after or 0)
        self._note(status, int(answer["metadata"]["resourceVersion"]))
        return None

    def _note(self, status: Status, version: int) -> None:
        """It is written, unless somebody else has written since, of which the watch has told before the answer came."""
        self._sending = None
        if version < self._version:
            self._changed.set()
        else:
            self._written, self._version, self._contested = status, version, False

    async def _is_ours(self) -> bool:
        """A failed test and an invalid status are both 422. Where nobody can tell, the next try will."""
        try:
            found = await self._api.get(self._path)
        except ApiError as error:
            return not error.is_not_found
        return bool(found["metadata"]["uid"] == self._uid)


def _reason(status: Status) -> str | None:
    ready = status.condition("Ready")
    return ready.reason if ready else None
