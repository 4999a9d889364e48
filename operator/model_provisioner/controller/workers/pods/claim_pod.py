"""The worker pod of one claim: started when there is work, watched until it has ended, one at a time.

A pod needs a place, of which there are `workers.max`; the queue of places is fair among namespaces, as that of
transfers is. What the cluster says of a pod that does not run becomes the message of the object that waits. Made by
`pod_pool`; how requests are sent is in `worker_pod` and `pod_process`.
"""

import asyncio
import contextlib
import itertools
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime

from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.controller.workers.door.pod_process import PodProcess
from model_provisioner.controller.workers.pods.job_client import JobClient, WorkerJob
from model_provisioner.controller.workers.pods.places import Place, Places
from model_provisioner.controller.workers.pods.pod_states import Phase, PodState
from model_provisioner.domain.errors import ProvisionError, WorkerLost, WorkerPending, WorkerRefused
from model_provisioner.domain.scheduling.queueing import Waiting
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import ApiError
from model_provisioner.worker_protocol.channel import CUT_OFF_SECONDS

_LOG = logging.getLogger(__name__)
_PATIENCE_SECONDS = 5.0
"""How long a request waits for a pod before the object says what it waits for."""
_UNWANTED_SECONDS = 900.0
"""After so long without a request, a pod that never ran is given up. Longer than the longest backoff of an object."""
_FIRST_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.5, 5.0
_END_SECONDS = 10.0
_KILLED = -signal.SIGKILL


class ClaimPod:
    """`places` are those of all pods. `epoch` is `leaseTransitions` of the Lease, `numbers` gives each pod a number.

    `on_ready` is called when a pod of the claim has connected for the first time.
    """

    def __init__(
        self,
        claim: Claim,
        jobs: JobClient,
        places: Places,
        epoch: int,
        numbers: Iterator[int] | None = None,
        on_ready: Callable[[Claim], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.claim = claim
        self.job: WorkerJob | None = None
        self.process: PodProcess | None = None
        self._jobs = jobs
        self._places = places
        self._epoch = epoch
        self._numbers = numbers or itertools.count(1)
        self._on_ready = on_ready
        self._monotonic = monotonic
        self._sleep = sleep
        self._life: asyncio.Task[None] | None = None
        self._began_at = 0.0
        self._wanted_at = monotonic()
        self._why = ""
        self._awaited = 0
        self._changed = asyncio.Event()
        self._ready = asyncio.Event()

    @property
    def is_alive(self) -> bool:
        """Whether a pod runs, or is being started or ended."""
        return self._life is not None and not self._life.done()

    @property
    def is_at_work(self) -> bool:
        """Whether a pod has connected, and was not told to end."""
        process = self.process
        if process is None or process.returncode is not None or process.is_closing():
            return False
        return self.is_alive and process.has_connected

    async def launch(self) -> PodProcess:
        """The process of the pod, which is started unless there is one.

        Raises WorkerPending, with what is waited for, if it does not connect soon; WorkerRefused or WorkerLost if it
        can't.
        """
        self._wanted_at = self._monotonic()
        await self._end_of_last()
        if self._life is None or self._life.done():
            self._life = self._begin()
        life = self._life
        while True:
            self._changed.clear()
            process = self.process
            if process and process.has_connected and process.returncode is None:
                return process
            if life.done():
                raise self._failure(life)
            left = self._began_at + _PATIENCE_SECONDS - self._monotonic()
            if left <= 0:
                raise WorkerPending(f"no worker pod for claim {self.claim.name} yet: {self._why}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()

    async def _end_of_last(self) -> None:
        """Waits until the pod before is ended, if it is about to."""
        process, life = self.process, self._life
        if process and life and (process.is_closing() or process.returncode is not None):
            await asyncio.wait({life}, timeout=_END_SECONDS)

    def adopt(self, job: WorkerJob) -> None:
        """Takes over the pod of an operator before this one."""
        self._life = self._begin(job)

    async def until_ready(self) -> None:
        """Returns when a pod is connected."""
        self._awaited += 1
        try:
            await self._ready.wait()
        finally:
            self._awaited -= 1

    @property
    def is_used(self) -> bool:
        """Whether it must be kept: it lives, is waited for, or was wanted not long ago."""
        return self.is_alive or self._awaited > 0 or self._monotonic() - self._wanted_at < _UNWANTED_SECONDS

    async def detach(self) -> None:
        """Leaves the pod running, for the next operator."""
        if self._life:
            await cancel_and_wait(self._life)

    def _begin(self, job: WorkerJob | None = None) -> asyncio.Task[None]:
        self._ready.clear()
        self._began_at = self._monotonic()
        self._why = "waiting for a place among the worker pods"
        self.process = None
        life = asyncio.create_task(self._live(job), name=f"worker of {self.claim.namespace}")
        life.add_done_callback(self._on_end)
        return life

    def _on_end(self, life: asyncio.Task[None]) -> None:
        self._changed.set()
        if not life.cancelled() and (error := life.exception()):
            _LOG.info("no worker pod for %s/%s: %s", self.claim.namespace, self.claim.name, error)

    def _failure(self, life: asyncio.Task[None]) -> ProvisionError:
        error = None if life.cancelled() else life.exception()
        if isinstance(error, ProvisionError):
            return error
        if self.process and self.process.error:
            return self.process.error
        return WorkerLost(f"the worker pod of claim {self.claim.name} has ended")

    async def _live(self, job: WorkerJob | None) -> None:
        """From the wait for a place to the deletion of the Job. A cancelled one leaves its Job as it is."""
        created = datetime.now(UTC).isoformat()
        waiting = Waiting(f"{self.claim.namespace}/{self.claim.name}", self.claim.namespace, 0, created)
        process = PodProcess(next(self._numbers), self._epoch, self._monotonic, self._sleep)
        if job:
            self.job, self.process = job, process
        try:
            if job is None:
                await self._jobs.check(self.claim)
            async with self._places.acquire(waiting) as place:
                self._why = "its Job is being created"
                self.job = job = job or await self._jobs.create(self.claim)
                self.process = process
                _LOG.info("worker %s is the pod of Job %s", process.pid, job.full_name)
                await self._watch(job, process, place)
                if process.error:
                    _LOG.info("the pod of Job %s has ended: %s", job.full_name, process.error.message)
                await self._delete(job)
        finally:
            process.end(_KILLED, process.error or WorkerLost("the operator has let the worker pod go"))
            self.job = None

    async def _watch(self, job: WorkerJob, process: PodProcess, place: Place) -> None:
        """Returns when the pod has ended or must end."""
        pause = _FIRST_LOOK_SECONDS
        while process.returncode is None:
            process.changed.clear()
            if process.is_connected:
                self._notify_ready()
                pause = _FIRST_LOOK_SECONDS
                await self._until_changed(process, place, None)
                if place.wanted_back.is_set() and process.is_connected:
                    await self._give_back(process)
            elif error := await self._look(job, process, place):
                process.end(_KILLED, error)
            else:
                await self._until_changed(process, place, pause)
                pause = min(2 * pause, _LONGEST_LOOK_SECONDS)

    def _notify_ready(self) -> None:
        self._changed.set()
        if not self._ready.is_set():
            self._ready.set()
            self._on_ready(self.claim)

    async def _until_changed(self, process: PodProcess, place: Place, seconds: float | None) -> None:
        tasks = [asyncio.create_task(process.changed.wait())]
        if not process.is_closing() and not place.wanted_back.is_set():
            tasks.append(asyncio.create_task(place.wanted_back.wait()))
        try:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await cancel_and_wait(*tasks)

    async def _give_back(self, process: PodProcess) -> None:
        """Has the pod write its journals and end: another namespace has its turn."""
        process.error = WorkerPending(
            "its worker pod has made place for that of another namespace; what is here is kept"
        )
        process.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await process.wait()
        process.end(_KILLED, process.error)

    async def _look(self, job: WorkerJob, process: PodProcess, place: Place) -> ProvisionError | None:
        """Asks the cluster for the pod, which is not connected. Returns an error if it is not waited for any more."""
        had_connected = process.has_connected
        if not self._jobs.fits(job):
            return WorkerLost(
                "the worker pod trusts an authority of before, and is replaced; what it had written is kept"
            )
        try:
            state = await self._jobs.state(job)
        except ApiError as error:
            self._say(f"the API server does not tell: {error.message}")
            return None
        if process.is_connected:  # meanwhile: what was read is older
            return None
        self._say(state.message)
        now = self._monotonic()
        is_wanted = now - self._wanted_at < _UNWANTED_SECONDS and not place.wanted_back.is_set()
        return _verdict(
            f"the worker pod of claim {self.claim.name}",
            state,
            now - process.cut_off_since if had_connected else None,
            is_wanted=is_wanted,
        )

    def _say(self, why: str) -> None:
        if why != self._why:
            self._why = why
            self._changed.set()

    async def _delete(self, job: WorkerJob) -> None:
        try:
            await self._jobs.delete(job.claim.namespace, job.name)
        except ApiError as error:  # it ends by itself: the pod is told, or sees no operator
            _LOG.warning("Job %s could not be deleted: %s", job.full_name, error)


def _verdict(what: str, state: PodState, cut_off: float | None, *, is_wanted: bool) -> ProvisionError | None:
    """Why a pod in `state`, which is not connected, is not waited for any more; None if it is.

    `cut_off` is since when it is cut off, in seconds; None if it never was connected.
    """
    if state.phase is Phase.REFUSED:
        return WorkerRefused(f"{what} is refused: {state.message}")
    if state.phase is Phase.ENDED:
        return WorkerLost(f"{what} is gone: {state.message}; what it had written is kept")
    if cut_off is None:
        return None if is_wanted else WorkerPending(f"{what} has made place for others: {state.message}")
    if state.phase is Phase.PENDING:  # it had run
        return WorkerLost(f"{what} is gone; what it had written is kept")
    if cut_off > CUT_OFF_SECONDS:
        return WorkerLost(f"{what} was cut off for {cut_off:.0f}s, and is given up; what it had written is kept")
    return None
