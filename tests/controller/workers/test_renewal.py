"""An authority that ends soon is replaced while pods run: they stay, and one that is cut off then is replaced.

The pool and the door of an operator in this process, on a real API server; `pod_node` plays the kubelet.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from model_provisioner import __version__
from model_provisioner.controller.workers.door.authority_secret import AuthoritySecret
from model_provisioner.controller.workers.door.certificates import issue
from model_provisioner.controller.workers.door.door_tls import Identity
from model_provisioner.controller.workers.pod_pool import PodPool
from model_provisioner.controller.workers.pod_service import PodService
from model_provisioner.controller.workers.pods.giving_way import GivingWay
from model_provisioner.controller.workers.pods.job_client import JobClient
from model_provisioner.controller.workers.pods.manifests import JobSettings
from model_provisioner.controller.workers.pods.places import Places
from model_provisioner.domain.errors import WorkerLost, WorkerPending
from model_provisioner.domain.store.claim import Claim, StoreRef
from model_provisioner.kube.client import KubeApi
from model_provisioner.worker_protocol.messages import Survey, Surveyed
from tests.support.cable import Cable
from tests.support.pod_node import PodNode
from tests.support.programs import free_port

NAME = "mp-workers-ca"


class Clock:
    """The time of the authority, which ends 65 days after it was made `ago`."""

    ago = timedelta(days=300)

    def __call__(self) -> datetime:
        return datetime.now(UTC) - self.ago


class AgedSecret(AuthoritySecret):
    """Only the authority is as old as the clock of the test says; what it signs is of now."""

    async def identity(self) -> Identity:
        return issue(await self.authority(), datetime.now(UTC))


class TrustingJobs(JobClient):
    """Tells which `authority` the pods of new Jobs trust."""

    authority: bytes | None = None

    def trust(self, authority: bytes | None, problem: str = "") -> None:
        self.authority = authority
        super().trust(authority, problem)


class Site:
    """A service of worker pods for the claim `team`. `look` is released for each look at the certificates."""

    def __init__(self, api: KubeApi, namespace: str, address: str, port: int) -> None:
        self.clock = Clock()
        self.look = asyncio.Semaphore(0)
        self.claim = Claim(namespace, "team")
        self.authority = AgedSecret(api, namespace, NAME, self.clock)
        self.jobs = TrustingJobs(api, JobSettings("mp", "image", "Always", f"127.0.0.1:{port}", (), __version__))
        self.pool = PodPool(self.jobs, Places(1, 1), GivingWay(api), epoch=1)
        self.service = PodService(self.authority, self.jobs, self.pool, address, 1, self._sleep)

    async def _sleep(self, _: float) -> None:
        await self.look.acquire()

    async def ask(self) -> None:
        """Has the pod do something, whenever there is one."""
        answer: object = None
        while not isinstance(answer, Surveyed):
            with contextlib.suppress(WorkerPending, WorkerLost):
                answer = await self.pool.worker(self.claim).call(Survey("1", StoreRef("/models", None)))
            await asyncio.sleep(0.1)

    async def renew(self) -> None:
        """Waits until the authority is another one."""
        before = self.jobs.authority
        self.look.release()
        while self.jobs.authority == before:  # noqa: ASYNC110 -- the service has no event for it
            await asyncio.sleep(0.05)


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[KubeApi]:
    connected = await KubeApi.connect(cluster.kubeconfig)
    yield connected
    await connected.close()


async def test_pods_stay_while_the_authority_is_replaced_and_come_back_by_another_pod(
    api: KubeApi, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "team").mkdir()
    address = f"127.0.0.1:{free_port()}"
    async with asyncio.timeout(120), AsyncExitStack() as closing:
        cable = closing.enter_context(Cable(address))
        node = closing.enter_context(PodNode(cluster, namespace, tmp_path, {"team": tmp_path / "team"}))
        site = Site(api, namespace, address, cable.port)
        await site.service.start(closing, [namespace])
        keeping = asyncio.create_task(site.service.run())
        closing.callback(keeping.cancel)
        await site.ask()
        site.clock.ago = timedelta(0)
        await site.renew()
        assert site.jobs.authority
        assert site.jobs.authority.decode() == cluster_authority(cluster, namespace)
        await site.ask()
        assert len(node.jobs) == 1, "the pod stays connected"
        cable.cut()
        cable.mend()
        await site.ask()
        assert len(node.jobs) == 2, "it can't come back, and is replaced at once"


def cluster_authority(cluster: Cluster, namespace: str) -> str:
    found = cluster.api.get(f"/api/v1/namespaces/{namespace}/secrets/{NAME}")
    return base64.b64decode(found["data"]["ca.crt"]).decode()
