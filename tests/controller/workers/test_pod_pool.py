"""Which worker pods the pool ends for other pods, with Jobs and a door that the test answers for."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import pytest

from model_provisioner import __version__
from model_provisioner.controller.workers import pod_pool
from model_provisioner.controller.workers.pod_pool import PodPool
from model_provisioner.controller.workers.pods.giving_way import GivingWay
from model_provisioner.controller.workers.pods.job_client import WorkerJob
from model_provisioner.controller.workers.pods.manifests import token_hash
from model_provisioner.controller.workers.pods.places import Places
from model_provisioner.domain.store.claim import Claim, StoreRef
from model_provisioner.worker_protocol.channel import Channel, Hello
from model_provisioner.worker_protocol.codec import encode_answer
from model_provisioner.worker_protocol.messages import Check, Checked
from tests.controller.workers.pods.test_claim_pod import SlowJobs, greet

CLAIM, TOKEN = Claim("team", "models"), "right"


class WantedClaims(GivingWay):
    """A pod waits for each claim. Each look is kept."""

    def __init__(self) -> None:  # without an API
        self.looks: asyncio.Queue[list[WorkerJob]] = asyncio.Queue()

    async def find(self, idle: Iterable[WorkerJob]) -> dict[WorkerJob, str]:
        jobs = list(idle)
        self.looks.put_nowait(jobs)
        return dict.fromkeys(jobs, "web")


class Jobs(SlowJobs):
    """Each pod has the same token."""

    async def create(self, claim: Claim) -> WorkerJob:
        return replace(await super().create(claim), token_hash=token_hash(TOKEN))


class Socket:
    """A connection over which the test answers; `ended` is set when the pod is told to end."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()

    async def send_text(self, _: str) -> None:
        self.ended.set()

    async def send_frame(self, frame: bytes) -> None: ...

    async def receive(self) -> bytes:
        return await self.frames.get()

    async def close(self) -> None: ...


async def test_a_pod_ends_for_another_one_when_its_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_pool, "_IDLE_SECONDS_IF_WANTED", 0.0)
    wanted, jobs, socket = WantedClaims(), Jobs(), Socket()
    jobs.answer.set()
    pool = PodPool(jobs, Places(1, 1), wanted, 1, sleep=lambda _: asyncio.sleep(0))
    running = asyncio.create_task(pool.give_way())
    worker = pool.worker(CLAIM)
    calling = asyncio.create_task(worker.call(Check("id", StoreRef("/models", None), ())))
    await jobs.asked.wait()
    process = pool.find("team/job", TOKEN)
    assert process
    serving = asyncio.create_task(process.serve(socket, Hello(__version__), greet))
    async with asyncio.timeout(60):
        while not worker.is_running:
            await wanted.looks.get()
        while not wanted.looks.empty():
            wanted.looks.get_nowait()
        for _ in range(3):
            assert await wanted.looks.get() == [], "nothing is asked for a worker that has work"
        assert not socket.ended.is_set()
        socket.frames.put_nowait(Channel().pack(encode_answer(Checked("id", ()))))
        await calling
        await socket.ended.wait()
    running.cancel()
    await pool.detach()
    serving.cancel()
    await asyncio.wait({running, serving})
