"""The worker pods of all claims that the operator does not mount: one for a claim, ended when it idles.

Made by `pod_service`. `controller.stores.store_client` and `controller.transfers` ask it for the worker of a claim, and
can't tell it from a child process; `door` asks it which pod has connected.
"""

import asyncio
import contextlib
import hmac
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable

from model_provisioner.controller.workers.door.pod_process import PodProcess
from model_provisioner.controller.workers.door.wrong_tokens import WrongTokens
from model_provisioner.controller.workers.pods.claim_pod import ClaimPod
from model_provisioner.controller.workers.pods.giving_way import GivingWay
from model_provisioner.controller.workers.pods.job_client import JobClient
from model_provisioner.controller.workers.pods.manifests import token_hash
from model_provisioner.controller.workers.pods.places import Places
from model_provisioner.controller.workers.worker_pod import WorkerPod
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.store.claim import Claim

_LOG = logging.getLogger(__name__)
_IDLE_SECONDS = 60.0
_IDLE_SECONDS_IF_WANTED = 2.0
_LOOK_SECONDS = 2.0


class PodPool:
    """`epoch` is `leaseTransitions` of the Lease. Run `end_idle` and `give_way` as tasks. `sleep` is in seconds."""

    def __init__(
        self,
        jobs: JobClient,
        places: Places,
        giving_way: GivingWay,
        epoch: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._jobs = jobs
        self._places = places
        self._giving_way = giving_way
        self._epoch = epoch
        self.on_ready: Callable[[Claim], None] = lambda _: None
        """Called when the pod of a claim has connected."""
        self._sleep = sleep
        self._numbers = itertools.count(1)
        self._wrong_tokens = WrongTokens()
        self._pods: dict[Claim, tuple[ClaimPod, WorkerPod]] = {}
        self._starting = set[asyncio.Task[None]]()

    def worker(self, claim: Claim) -> WorkerPod:
        """The worker of `claim`, whose pod is started by the first request."""
        return self._pod(claim)[1]

    async def until_ready(self, claim: Claim) -> None:
        """Returns when a pod of `claim` is connected."""
        await self._pod(claim)[0].until_ready()

    def is_ready(self, claim: Claim) -> bool:
        """Whether a pod of `claim` runs, has connected, and was not told to end."""
        found = self._pods.get(claim)
        return bool(found and found[0].is_at_work)

    async def adopt(self, namespaces: Iterable[str]) -> None:
        """Takes over the pods of an earlier operator, and ends those that differ from its own. Raises ApiError."""
        for job in await self._jobs.find_all(namespaces):
            if job.is_over or not self._jobs.fits(job) or not self._places.has_room(job.claim.namespace):
                await self._jobs.delete(job.claim.namespace, job.name)
            else:
                self._pod(job.claim)[0].adopt(job)
                await asyncio.sleep(0)  # it takes its place now

    def find(self, job: str, token: str) -> PodProcess | None:
        """The process of the pod of `job` (NAMESPACE/NAME) that has proved itself by `token`."""
        given = token_hash(token)
        for pod, _ in self._pods.values():
            if pod.job and pod.job.full_name == job:
                if hmac.compare_digest(given, pod.job.token_hash):
                    return pod.process
                self._wrong_tokens.note(job)
        return None

    async def end_idle(self) -> None:
        """Ends the pods that have idled for long, until it is cancelled; soon if another claim waits for a place."""
        while True:
            await self._sleep(_LOOK_SECONDS)
            pods = [(self._idle_seconds(claim), worker) for claim, (_, worker) in self._pods.items()]
            await asyncio.gather(*(worker.retire(seconds) for seconds, worker in pods))

    async def detach(self) -> None:
        """Lets the pods go on without this operator, for the next one."""
        await asyncio.gather(*(pod.detach() for pod, _ in self._pods.values()))

    async def give_way(self) -> None:
        """Ends the pods without work whose claim another pod waits for, until it is cancelled.

        Apart from `end_idle`, which an API server that does not answer must not delay.
        """
        while True:
            await self._sleep(_LOOK_SECONDS)
            idle = {
                pod.job: worker
                for pod, worker in self._pods.values()
                if pod.job and worker.has_idled(_IDLE_SECONDS_IF_WANTED)
            }
            found = await self._giving_way.find(idle)
            for job, other in found.items():
                _LOG.info("the pod of Job %s has no work and ends: pod %s waits for its claim", job.full_name, other)
            await asyncio.gather(*(idle[job].retire(_IDLE_SECONDS_IF_WANTED) for job in found))

    def _idle_seconds(self, claim: Claim) -> float:
        return _IDLE_SECONDS_IF_WANTED if self._places.is_wanted(claim.namespace) else _IDLE_SECONDS

    def _pod(self, claim: Claim) -> tuple[ClaimPod, WorkerPod]:
        if claim not in self._pods:
            self._forget_unused()
            pod = ClaimPod(claim, self._jobs, self._places, self._epoch, self._numbers, self._on_connected)
            self._pods[claim] = pod, WorkerPod(pod.launch)
        return self._pods[claim]

    def _forget_unused(self) -> None:
        """Claims come and go."""
        self._pods = {claim: one for claim, one in self._pods.items() if one[0].is_used}

    def _on_connected(self, claim: Claim) -> None:
        """From now on the pod is ended when it idles, also if what wanted it is gone."""
        task = asyncio.create_task(_start(self._pod(claim)[1]))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        self.on_ready(claim)


async def _start(worker: WorkerPod) -> None:
    with contextlib.suppress(ProvisionError):  # it has ended already
        await worker.start()
