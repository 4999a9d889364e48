"""What happens to one ModelDownload, from its creation to its end. Read this first.

`run` is an endless, level-triggered loop: it looks at the object as it is now, makes one attempt to
bring it to where its spec wants it, and then waits until something that matters has changed. It never
returns while the object lives, and every outcome, also a failure, is an event that goes through
`domain.snapshot`. Called by `controller.operator`, once per object. What one attempt does stands in
`attempt`. Knows no kopf.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta

from model_provisioner.controller.attempt import Attempt, Surroundings
from model_provisioner.controller.status_writer import StatusWriter
from model_provisioner.domain.backoff import delay
from model_provisioner.domain.errors import InternalError, ProvisionError, Retryable, VolumeChanged, VolumeNotWritable
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.snapshot import Event, Failed, Progressed, ReconcileHandled, advance
from model_provisioner.domain.status import restore

_LOG = logging.getLogger(__name__)
_LOOK_AGAIN_SECONDS = 60.0


class Lifecycle:
    """The life of one object; `latest` gives the object as it is now."""

    def __init__(self, around: Surroundings, latest: Callable[[], ModelDownload], changed: asyncio.Event) -> None:
        self._around = around
        self._latest = latest
        self._changed = changed
        self._subject = latest()
        self._snapshot = restore(self._subject.status)
        self._failures = 0
        self._status = StatusWriter(
            around.api,
            self._subject,
            around.now,
            around.progress_interval,
            lambda status: around.announcer.transition(self._subject, status),
        )

    async def run(self) -> None:
        """Until cancelled. Raises Gone when the object is no longer there."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._status.run())
            tasks.create_task(self._live())

    async def _live(self) -> None:
        while True:
            self._changed.clear()
            self._take_note()
            await self._until_changed(self._turn())

    async def _turn(self) -> None:
        """One try, and the wait for the next one."""
        seconds = await self._try()
        await asyncio.sleep(seconds) if seconds is not None else await asyncio.Event().wait()

    async def _until_changed(self, turn: Coroutine[None, None, None]) -> None:
        """Runs `turn` until it ends, or until the object wants something else than when it began."""
        wanted = _wanted(self._subject)
        task = asyncio.create_task(turn)
        try:
            while _wanted(self._subject) == wanted and not await _done_or(self._changed, task):
                self._changed.clear()
                self._take_note()
        finally:
            await _cancel(task)

    def _take_note(self) -> None:
        """The object as it is now: what changes without a new try is shown at once."""
        self._subject = self._latest()
        self._around.slots.reprioritise(self._subject.uid, self._subject.spec.priority)
        self._advance(ReconcileHandled(self._subject.reconcile_at))

    def _advance(self, event: Event) -> None:
        """Every event passes here. Bytes that flow make an end of earlier failures."""
        before, self._snapshot = self._snapshot, advance(self._snapshot, event, self._around.now())
        if isinstance(event, Progressed) and self._snapshot.bytes > before.bytes:
            self._failures = 0
        self._status.show(self._snapshot, self._subject.generation)

    async def _try(self) -> float | None:
        """Seconds until the next try is due; None: only a change of the object is worth one."""
        try:
            await Attempt(self._around, self._subject, self._snapshot, self._advance).run()
        except ProvisionError as error:
            return self._fail(error)
        except Exception as error:  # noqa: BLE001 -- the edge where a bug becomes a state that people see
            _LOG.exception("%s/%s: unforeseen", self._subject.namespace, self._subject.name)
            return self._fail(InternalError(f"{type(error).__name__}: {error}; the operator's log has the details"))
        self._failures = 0
        return _LOOK_AGAIN_SECONDS if self._snapshot.ready else None

    def _fail(self, error: ProvisionError) -> float | None:
        seconds = self._pause(error)
        again = None if seconds is None else self._around.now() + timedelta(seconds=seconds)
        self._advance(Failed(error, again))
        return seconds

    def _pause(self, error: ProvisionError) -> float | None:
        """Seconds until the next try; a volume that was away comes back without anybody changing the object."""
        if isinstance(error, Retryable):
            self._failures += 1
            return delay(self._failures, error.retry_after, self._around.random())
        return _LOOK_AGAIN_SECONDS if isinstance(error, VolumeChanged | VolumeNotWritable) else None


async def _done_or(changed: asyncio.Event, task: asyncio.Task[None]) -> bool:
    """True as soon as `task` is done, False as soon as `changed` is set."""
    change = asyncio.create_task(changed.wait())
    try:
        await asyncio.wait({task, change}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        change.cancel()
    return task.done()


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _wanted(subject: ModelDownload) -> tuple[object, ...]:
    """What a running attempt was made for: when this changes, the attempt is given up and made anew."""
    spec = subject.spec
    return (
        spec.model_ref,
        spec.digest,
        spec.secret_name,
        spec.endpoint,
        spec.connections,
        spec.max_bytes_per_second,
        spec.suspend,
        subject.reconcile_at,
    )
