"""The pod of a claim, with Jobs that the test answers for."""

import asyncio
import contextlib

import pytest

from model_provisioner import __version__
from model_provisioner.controller.workers.pods.claim_pod import ClaimPod
from model_provisioner.controller.workers.pods.job_client import JobClient, WorkerJob
from model_provisioner.controller.workers.pods.places import Places
from model_provisioner.controller.workers.pods.pod_states import Phase, PodState
from model_provisioner.domain.errors import WorkerLost
from model_provisioner.domain.store.claim import Claim
from model_provisioner.worker_protocol.channel import Hello, Welcome


class SlowJobs(JobClient):
    """Tells that a pod is pending, but not before `answer` is set."""

    def __init__(self) -> None:  # without an API
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.deleted: list[str] = []
        self.are_trusted = True

    def fits(self, job: WorkerJob) -> bool:
        return self.are_trusted

    async def check(self, claim: Claim) -> None:
        """Every claim may have a pod."""

    async def create(self, claim: Claim) -> WorkerJob:
        return WorkerJob(claim, "job", "uid", "hash", "revision")

    async def state(self, job: WorkerJob) -> PodState:
        self.asked.set()
        await self.answer.wait()
        return PodState(Phase.PENDING, "its node prepares it")

    async def delete(self, namespace: str, name: str) -> None:
        self.deleted.append(f"{namespace}/{name}")


class OpenSocket:
    """A connection over which nothing comes."""

    async def send_text(self, text: str) -> None: ...

    async def send_frame(self, frame: bytes) -> None: ...

    async def receive(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None: ...


async def greet(_: Welcome) -> None:
    """The pod is welcome."""


def test_a_pod_that_connects_while_the_cluster_is_asked_for_it_is_kept() -> None:
    async def run() -> None:
        jobs = SlowJobs()
        pod = ClaimPod(Claim("team", "models"), jobs, Places(1, 1), epoch=1)
        launching = asyncio.create_task(pod.launch())
        await jobs.asked.wait()
        process = pod.process
        assert process
        serving = asyncio.create_task(process.serve(OpenSocket(), Hello(__version__), greet))
        await process.changed.wait()
        assert process.is_connected
        jobs.answer.set()
        assert await launching is process
        assert (process.returncode, jobs.deleted) == (None, [])
        await pod.detach()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_pod_that_can_not_connect_any_more_is_replaced() -> None:
    """Its Secret has the authority of before."""

    async def run() -> None:
        jobs = SlowJobs()
        jobs.answer.set()
        pod = ClaimPod(Claim("team", "models"), jobs, Places(1, 1), epoch=1)
        launching = asyncio.create_task(pod.launch())
        await jobs.asked.wait()
        jobs.are_trusted = False
        with pytest.raises(WorkerLost, match="trusts an authority of before, and is replaced"):
            await launching
        assert jobs.deleted == ["team/job"]

    asyncio.run(asyncio.wait_for(run(), 60))
