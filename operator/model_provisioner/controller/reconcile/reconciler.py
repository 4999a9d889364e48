"""Reconciles one ModelDownload until it is settled or deleted. Read this file first.

`run` is a level-triggered loop: it reads the object as it is now, makes one attempt to bring it to what its spec asks
for, and waits until another attempt is due. An edit that changes the goal cancels the attempt or the wait. Every
outcome, also a failure, is an event for `domain.lifecycle.snapshot`. The loop ends when the object is settled, that is,
Ready and with nothing left to do or to write; `manager` begins another one when the object or its files change.

Run by `manager`, once per object. The steps of an attempt are in `attempt`, the conditions of a wait in `waits`; the
status is written by `status_writer`. Imports no kopf.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta

from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.controller.reconcile.attempt import Attempt
from model_provisioner.controller.reconcile.credentials import Secret
from model_provisioner.controller.reconcile.dependencies import Dependencies
from model_provisioner.controller.reconcile.status_writer import Gone, StatusRefused, StatusWriter
from model_provisioner.controller.reconcile.waits import done_or_woken, until_next_attempt
from model_provisioner.controller.reconcile.wakeup import Wakeup
from model_provisioner.domain.errors import (
    CatalogUnavailable,
    InternalError,
    ProvisionError,
    Retryable,
    UnsupportedSource,
)
from model_provisioner.domain.lifecycle.backoff import pause
from model_provisioner.domain.lifecycle.events import Event, Failed, Progressed, ReconcileHandled, Redefined
from model_provisioner.domain.lifecycle.settled import is_settled
from model_provisioner.domain.lifecycle.snapshot import DISCARDING, Snapshot, advance
from model_provisioner.domain.lifecycle.status import restore
from model_provisioner.domain.modeldownload import ModelDownload

_LOG = logging.getLogger(__name__)
_SHOWN = 300  # characters of a refusal of the API server


class Reconciler:
    """The reconciliation of one object.

    `latest` returns the newest version of the object. `changed` is set when there may be a newer one. `known` is the
    version that an earlier reconciliation of this operator has left, None if there was none: another client wrote the
    status of a later one.
    """

    def __init__(
        self,
        deps: Dependencies,
        latest: Callable[[], ModelDownload],
        changed: Wakeup,
        known: ModelDownload | None = None,
    ) -> None:
        self._deps = deps
        self._latest = latest
        self._changed = changed
        self._download = known or latest()
        self._snapshot = restore(self._download.status)
        # The spec may have been edited while no operator ran. Then the status may belong to another model.
        seen = self._snapshot.start_time or self._download.generation == self._download.status.observed_generation
        self._model_spec = _model_spec(self._download) if seen else None
        self._failures = 0
        self._gave_up = False
        self._secret: Secret | None = None
        self._is_resting = False
        self._is_settled = False
        self._status = StatusWriter(
            deps.api,
            self._download,
            deps.now,
            deps.progress_interval,
            lambda status: deps.event_recorder.transition(self._download, status),
            deps.sleep,
            self._on_status_idle,
        )
        self._set_goal()

    async def run(self) -> ModelDownload:
        """Returns the object in the version in which it is settled.

        Raises Gone, in a group, if the object does not exist any more.
        """
        try:
            while not self._is_settled:
                await self._run_until_refused()
        except* Gone:
            self._deps.catalog.drop(self._download)  # the catalog may have seen the deletion before the entry was made
            raise
        finally:
            self._deps.metrics.forget(self._download.uid)
        return self._download

    async def _run_until_refused(self) -> None:
        """Returns when the object is settled, or after the API server has refused a status.

        What runs for the object is stopped then.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(self._status.run())
                await self._loop()
                writing.cancel()
        except* StatusRefused as refused:
            self._give_up(str(refused.exceptions[0]))

    def _give_up(self, why: str) -> None:
        """The next status names no model, because what is known of it may be what the API server refuses."""
        handled = self._snapshot.handled_reconcile_at, self._snapshot.handled_verify_at
        self._snapshot = Snapshot(handled_reconcile_at=handled[0], handled_verify_at=handled[1])
        self._model_spec = None
        self._gave_up = True
        self._fail(UnsupportedSource(f"the API server does not take the status of this model: {why[:_SHOWN]}"))

    def has_foreign_status(self, resource_version: str, read: Callable[[], ModelDownload]) -> bool:
        """Whether another client has written the status of this version of the object.

        `read` parses this version; it is called only if the version is newer than our last write.
        """
        return self._status.is_newer(resource_version) and self._status.is_foreign(read())

    async def _loop(self) -> None:
        if self._gave_up or self._already_failed():
            self._gave_up = False
            self._advance(ReconcileHandled(self._download.reconcile_at))
            await self._run_for_goal(self._wait(None))
        while not self._is_settled:
            self._observe()
            await self._run_for_goal(self._attempt_and_wait())

    def _already_failed(self) -> bool:
        """Whether an attempt for the present spec has ended with wrong bytes.

        Another one would fetch every byte again, only because the operator was restarted.
        """
        download, status = self._download, self._download.status
        handled = (status.observed_generation, status.last_handled_reconcile_at)
        discarded = self._snapshot.stalled and self._snapshot.reason in DISCARDING
        return discarded and handled == (download.generation, download.reconcile_at)

    def _observe(self) -> None:
        """Reads the object as it is now and sets the goal of the next attempt.

        The status is shown at once only if the object is Ready: it stays so. Otherwise the reason and the message are
        those of the spec before the edit, and the first event of the attempt shows the new ones.
        """
        self._is_resting = False
        self._changed.clear()
        self._refresh()
        if self._model_spec != _model_spec(self._download):
            self._discard_model()
        handled = ReconcileHandled(self._download.reconcile_at)
        if self._snapshot.ready:
            self._advance(handled)
        else:
            self._snapshot = advance(self._snapshot, handled, self._deps.now())
        self._set_goal()

    def _discard_model(self) -> None:
        """The spec names another model, which is allowed until the status says that a transfer has started."""
        self._model_spec = _model_spec(self._download)
        self._deps.catalog.drop(self._download)
        self._snapshot = advance(self._snapshot, Redefined(), self._deps.now())

    def _set_goal(self) -> None:
        """From now on, a change of the goal cancels what runs. `verifyAt` is part of it only if the object is Ready."""
        self._goal_has_verify_at = self._snapshot.ready
        self._goal = self._current_goal()

    def _current_goal(self) -> tuple[object, ...]:
        """The fields that an attempt is made for. Limits and priority are not among them: they apply at once."""
        download, spec = self._download, self._download.spec
        verify_at = download.verify_at if self._goal_has_verify_at else None
        return (*_model_spec(download), spec.secret_name, spec.suspend, download.reconcile_at, verify_at)

    async def _attempt_and_wait(self) -> None:
        delay = await self._attempt()
        self._set_goal()
        # A model may become Ready without its bytes being read. A `verifyAt` then needs another attempt at once.
        ready = delay is None and self._snapshot.ready
        if not (ready and self._snapshot.is_verification_requested(self._download.verify_at)):
            await self._wait(delay)

    async def _wait(self, delay: float | None) -> None:
        """Waits until the next attempt is due; `delay` is the backoff in seconds, None if there is none."""
        self._deps.queues.mark_synced(self._download.uid)
        self._is_resting = delay is None and self._snapshot.ready
        if not self._settle():
            await until_next_attempt(self._deps, self._download, self._snapshot, self._secret, delay)

    async def _run_for_goal(self, work: Coroutine[None, None, None]) -> None:
        """Runs `work` until it ends. Cancels it if the goal changes."""
        task = asyncio.create_task(work)
        try:
            while not await done_or_woken(task, self._changed):
                self._changed.clear()
                self._refresh()
                if self._current_goal() != self._goal or self._settle():
                    return
                self._status.show(self._snapshot, self._download.generation)
        finally:
            await cancel_and_wait(task)
        if not task.cancelled():
            task.result()

    @property
    def is_resting(self) -> bool:
        """Whether nothing is left to do, and the object is settled as soon as kopf delivers its last status."""
        return self._is_resting

    def _settle(self) -> bool:
        """Whether the object is settled in the newest version that was delivered."""
        self._is_settled = (
            self._is_resting
            and self._status.is_up_to_date(self._download)
            and is_settled(self._download, self._deps.now())
        )
        return self._is_settled

    def _on_status_idle(self) -> None:
        if self._is_resting:
            self._changed.set()

    def _refresh(self) -> None:
        """Reads the newest version of the object, and applies the changes that need no new attempt."""
        latest = self._latest()
        if int(latest.resource_version) > int(self._download.resource_version):  # events may come in the wrong order
            self._download = latest
        self._status.on_update(self._download)
        self._deps.transfers.on_update(self._download)

    def _advance(self, event: Event) -> None:
        """Applies `event` to the snapshot, the metrics and the status. New bytes reset the backoff."""
        before, self._snapshot = self._snapshot, advance(self._snapshot, event, self._deps.now())
        if isinstance(event, Progressed) and self._snapshot.bytes > before.bytes:
            self._failures = 0
        self._deps.metrics.advanced(self._download, self._snapshot, event)
        self._status.show(self._snapshot, self._download.generation)

    async def _attempt(self) -> float | None:
        """Returns the seconds until the next attempt; None if time alone is no reason for one."""
        self._secret = None
        attempt = Attempt(self._deps, lambda: self._download, self._snapshot, self._advance, self._on_secret)
        try:
            await attempt.run()
        except ProvisionError as error:
            return self._fail(error)
        except Exception as error:  # noqa: BLE001 -- the edge where a bug becomes a state that people see
            _LOG.exception("%s/%s: unforeseen", self._download.namespace, self._download.name)
            return self._fail(InternalError(f"{type(error).__name__}: {error}; the operator's log has the details"))
        self._failures = 0
        return None

    def _on_secret(self, secret: Secret) -> None:
        self._secret = secret

    def _fail(self, error: ProvisionError) -> float | None:
        """Applies the failure of an attempt; returns the seconds until the next one, None if it needs a change."""
        if isinstance(error, Retryable):
            self._failures += 1
        if not (self._snapshot.ready or isinstance(error, CatalogUnavailable)):
            self._deps.catalog.drop(self._download)  # it is unknown whether the files still exist
        in_pod = self._deps.stores.is_served_by_pod(self._download)
        delay = pause(error, self._failures, self._deps.random(), in_pod=in_pod)
        retry_time = None if delay is None else self._deps.now() + timedelta(seconds=delay)
        if self._snapshot.ready:  # the condition keeps its reason, so that neither an Event nor a log line reports it
            download = self._download
            _LOG.warning("%s/%s stays Ready: %s: %s", download.namespace, download.name, error.reason, error.message)
        self._advance(Failed(error, retry_time))
        return delay


def _model_spec(download: ModelDownload) -> tuple[object, ...]:
    """The fields of the spec that identify the model. They are immutable once bytes were fetched."""
    spec = download.spec
    return spec.model_ref, spec.digest, spec.endpoint, spec.projector
