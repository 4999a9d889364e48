"""Which Jobs of an operator before this one are taken over, and which are deleted."""

import asyncio
from collections.abc import Iterable

from model_provisioner.controller.workers.pod_pool import PodPool
from model_provisioner.controller.workers.pods.job_client import JobClient, WorkerJob
from model_provisioner.controller.workers.pods.manifests import JobSettings, job_name
from model_provisioner.controller.workers.pods.places import Places
from model_provisioner.controller.workers.pods.pod_states import Phase, PodState
from model_provisioner.domain.store.claim import Claim
from tests.controller.workers.test_pod_connections import NoPods

SETTINGS = JobSettings("mp", "image", "Always", "mp:8443", (), "1")


class Found(JobClient):
    """Finds these Jobs. None of their pods has connected."""

    def __init__(self, *jobs: WorkerJob) -> None:  # without an API
        self._settings = SETTINGS
        self._authority = None
        self._found = jobs
        self.deleted: list[str] = []

    async def find_all(self, namespaces: Iterable[str]) -> list[WorkerJob]:
        return [job for job in self._found if job.claim.namespace in namespaces]

    async def state(self, job: WorkerJob) -> PodState:
        return PodState(Phase.RUNNING, f"the pod of {job.name} runs")

    async def delete(self, namespace: str, name: str) -> None:
        self.deleted.append(f"{namespace}/{name}")


def job(namespace: str, claim: str, name: str | None = None) -> WorkerJob:
    own = Claim(namespace, claim)
    return WorkerJob(own, name or job_name("mp", own), f"uid-{claim}", "hash", SETTINGS.revision)


async def adopted(jobs: Found, most: int, most_of_namespace: int) -> set[str]:
    """The Jobs that are taken over, as NAMESPACE/CLAIM."""
    pool = PodPool(jobs, Places(most, most_of_namespace), NoPods(), epoch=2)
    await pool.adopt(["a", "b"])
    found = {f"{pod.claim.namespace}/{pod.claim.name}" for pod, _ in pool._pods.values() if pod.is_alive}
    async with asyncio.timeout(30):
        await pool.detach()
    return found


async def test_no_more_jobs_are_taken_over_than_may_run_now() -> None:
    everything = [job("a", "1"), job("a", "2"), job("b", "1"), job("b", "2")]
    jobs = Found(*everything)
    assert await adopted(jobs, 3, 2) == {"a/1", "a/2", "b/1"}
    assert jobs.deleted == [everything[3].full_name]


async def test_no_namespace_keeps_more_than_it_may_have_now() -> None:
    """One that waits for a place while its pod runs would not be looked after."""
    everything = [job("a", "1"), job("a", "2"), job("b", "1")]
    jobs = Found(*everything)
    assert await adopted(jobs, 3, 1) == {"a/1", "b/1"}
    assert jobs.deleted == [everything[1].full_name]


async def test_of_two_jobs_for_one_claim_the_one_with_its_name_stays() -> None:
    for order in ((0, 1), (1, 0)):
        both = job("a", "1"), job("a", "1", "model-worker-of-an-earlier-version")
        jobs = Found(*(both[index] for index in order))
        assert await adopted(jobs, 3, 3) == {"a/1"}
        assert jobs.deleted == [both[1].full_name]
