"""Which connection belongs to which pod, with Jobs that the test answers for."""

from collections.abc import Iterable

import pytest
from typing_extensions import override

from model_provisioner.controller.workers.pod_pool import PodPool
from model_provisioner.controller.workers.pods.giving_way import GivingWay
from model_provisioner.controller.workers.pods.job_client import JobClient, WorkerJob
from model_provisioner.controller.workers.pods.manifests import token_hash
from model_provisioner.controller.workers.pods.places import Places
from model_provisioner.controller.workers.pods.pod_states import Phase, PodState
from model_provisioner.domain.store.claim import Claim


class TwoJobs(JobClient):
    """The Jobs of two claims, of an operator before this one."""

    def __init__(self) -> None:  # without an API
        pass

    @override
    def fits(self, job: WorkerJob) -> bool:
        return True

    @override
    async def find_all(self, namespaces: Iterable[str]) -> list[WorkerJob]:
        return [WorkerJob(Claim(team, "models"), "job", team, token_hash(team), "revision") for team in namespaces]

    @override
    async def state(self, job: WorkerJob) -> PodState:
        return PodState(Phase.PENDING, "its node prepares it")


class NoPods(GivingWay):
    """No other pod waits for a claim."""

    def __init__(self) -> None:  # without an API
        pass


async def test_the_pod_of_another_claim_is_refused_and_the_log_says_in_whose_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pool = PodPool(TwoJobs(), Places(2, 1), NoPods(), epoch=1)
    await pool.adopt(["a", "b"])
    found = [pool.find(f"{team}/job", team) for team in "ab"]
    assert None not in found
    assert found[0] is not found[1]
    assert pool.find("a/job", "b") is None
    assert pool.find("c/job", "b") is None
    refusals = [record for record in caplog.records if "refused" in record.getMessage()]
    assert [record.args for record in refusals] == [("a/job",)], "a Job that is not there is of no use to name"
    await pool.detach()
