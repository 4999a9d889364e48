"""What happens to one ModelDownload, from its creation to its end. Read this first.

`run` is an endless, level-triggered loop: it looks at the object as it is now, makes one attempt to
bring it to where its spec wants it, and then waits until something that matters has changed. It never
returns while the object lives, and every outcome, also a failure, is an event that goes through
`domain.snapshot`. Called by `controller.operator`, once per object. What one attempt does stands in
`attempt`. Knows no kopf.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta

from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.controller.reconcile.attempt import Attempt
from model_provisioner.controller.reconcile.credentials import Secret
from model_provisioner.controller.reconcile.dependencies import Dependencies
from model_provisioner.controller.reconcile.status_writer import Gone, StatusWriter
from model_provisioner.controller.reconcile.waits import done_or_woken, until_next_attempt
from model_provisioner.controller.reconcile.wakeup import Wakeup
from model_provisioner.domain.errors import (
    CatalogUnavailable,
    InternalError,
    ProvisionError,
    Retryable,
)
from model_provisioner.domain.lifecycle.backoff import pause
from model_provisioner.domain.lifecycle.snapshot import (
    DISCARDING,
    Event,
    Failed,
    Progressed,
    ReconcileHandled,
    Redefined,
    advance,
)
from model_provisioner.domain.lifecycle.status import restore
from model_provisioner.domain.modeldownload import ModelDownload

_LOG = logging.getLogger(__name__)


class Reconciler:
    """The life of one object; `latest` gives the object as it is now."""

    def __init__(self, deps: Dependencies, latest: Callable[[], ModelDownload], changed: Wakeup) -> None:
        self._deps = deps
        self._latest = latest
        self._changed = changed
        self._download = latest()
        self._snapshot = restore(self._download.status)
        # An edit that no operator has seen may have asked for another model: nothing is known of that.
        seen = self._snapshot.start_time or self._download.generation == self._download.status.observed_generation
        self._defined = _definition(self._download) if seen else None
        self._failures = 0
        self._secret: Secret | None = None
        self._status = StatusWriter(
            deps.api,
            self._download,
            deps.now,
            deps.progress_interval,
            lambda status: deps.event_recorder.transition(self._download, status),
            deps.sleep,
        )
        self._aim()

    async def run(self) -> None:
        """Until cancelled. Raises Gone when the object is no longer there."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._status.run())
                tasks.create_task(self._live())
        except* Gone:
            self._deps.catalog.drop(self._download)  # which may have heard of its end before it was entered
            raise
        finally:
            self._deps.metrics.forget(self._download.uid)

    def is_contested(self, resource_version: str, read: Callable[[], ModelDownload]) -> bool:
        """Has somebody else written the object's status? `read` gives this version of it, and is seldom called."""
        return self._status.is_behind(resource_version) and self._status.disowns(read())

    async def _live(self) -> None:
        if self._was_given_up():
            self._advance(ReconcileHandled(self._download.reconcile_at))
            await self._until_changed(self._rest(None))
        while True:
            self._begin()
            await self._until_changed(self._turn())

    def _was_given_up(self) -> bool:
        """Would a try fetch every byte again, only because the operator was restarted?"""
        download, status = self._download, self._download.status
        asked = (status.observed_generation, status.last_handled_reconcile_at)
        given_up = self._snapshot.stalled and self._snapshot.reason in DISCARDING
        return given_up and asked == (download.generation, download.reconcile_at)

    def _begin(self) -> None:
        """Takes the object as it is now. Unless it is Ready, and stays so whatever comes, nothing of that is shown yet:
        what was found out before an edit would be told of what was edited. The first event of the new try tells of all.
        """
        self._changed.clear()
        self._take_note()
        if self._defined != _definition(self._download):
            self._forget_the_model()
        handled = ReconcileHandled(self._download.reconcile_at)
        if self._snapshot.ready:
            self._advance(handled)
        else:
            self._snapshot = advance(self._snapshot, handled, self._deps.now())
        self._aim()

    def _forget_the_model(self) -> None:
        """It asks for another one; until the API server has been told that fetching began, it may."""
        self._defined = _definition(self._download)
        self._deps.catalog.drop(self._download)
        self._snapshot = advance(self._snapshot, Redefined(), self._deps.now())

    def _aim(self) -> None:
        """From now on, another wish gives up what goes on. That files be read again is none before they are there."""
        self._heeds_verify = self._snapshot.ready
        self._begun = self._wanted()

    async def _turn(self) -> None:
        """One try, and the wait for the next one."""
        seconds = await self._try()
        self._aim()
        ready = seconds is None and self._snapshot.ready  # perhaps by what is known of its files
        if not (ready and self._snapshot.is_to_be_read(self._download.verify_at)):
            await self._rest(seconds)

    async def _rest(self, delay: float | None) -> None:
        """Returns when the next attempt is due. Also tells the queue that the object asks for no slot now."""
        self._deps.queue.mark_synced(self._download.uid)
        await until_next_attempt(self._deps, self._download, self._snapshot, self._secret, delay)

    async def _until_changed(self, turn: Coroutine[None, None, None]) -> None:
        """Runs `turn` until it ends, or until the object wants something else than when it began."""
        task = asyncio.create_task(turn)
        try:
            while not await done_or_woken(task, self._changed):
                self._changed.clear()
                self._take_note()
                if self._wanted() != self._begun:
                    return
                self._status.show(self._snapshot, self._download.generation)
        finally:
            await cancel_and_wait(task)
        if not task.cancelled():
            task.result()

    def _wanted(self) -> tuple[object, ...]:
        """What a turn was made for: when this changes, it is given up and made anew. Limits are not among it."""
        download, spec = self._download, self._download.spec
        verify_at = download.verify_at if self._heeds_verify else None
        return (*_definition(download), spec.secret_name, spec.suspend, download.reconcile_at, verify_at)

    def _take_note(self) -> None:
        """The object as it is now: what changes without a new try holds at once."""
        latest = self._latest()
        if int(latest.resource_version) > int(self._download.resource_version):  # events may come in the wrong order
            self._download = latest
        self._status.on_update(self._download)
        self._deps.transfers.on_update(self._download)

    def _advance(self, event: Event) -> None:
        """Every event passes here that is shown at once. Bytes that flow make an end of earlier failures."""
        before, self._snapshot = self._snapshot, advance(self._snapshot, event, self._deps.now())
        if isinstance(event, Progressed) and self._snapshot.bytes > before.bytes:
            self._failures = 0
        self._deps.metrics.advanced(self._download, self._snapshot, event)
        self._status.show(self._snapshot, self._download.generation)

    async def _try(self) -> float | None:
        """Seconds until the next try is due; None: only a change of the object is worth one."""
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
        if isinstance(error, Retryable):
            self._failures += 1
        if not (self._snapshot.ready or isinstance(error, CatalogUnavailable)):
            self._deps.catalog.drop(self._download)  # nobody can tell whether its files are still there
        seconds = pause(error, self._failures, self._deps.random())
        again = None if seconds is None else self._deps.now() + timedelta(seconds=seconds)
        if self._snapshot.ready:  # no new state, so nobody else tells of it
            download = self._download
            _LOG.warning("%s/%s stays Ready: %s: %s", download.namespace, download.name, error.reason, error.message)
        self._advance(Failed(error, again))
        return seconds


def _definition(download: ModelDownload) -> tuple[object, ...]:
    """What says which model it is: all that must stay as it is once bytes were fetched."""
    return download.spec.model_ref, download.spec.digest, download.spec.endpoint
