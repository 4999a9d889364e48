"""Downloads are stale while no operator acts: how the Lease shows it, and how the stream sends it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.domain.lifecycle.events import Available, Progressed, Started
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.stream.lease_monitor import OperatorLeaseMonitor
from model_provisioner.kube.client import KubeApi
from tests.gateway.clock import Clock
from tests.gateway.stream.test_golden import assert_golden
from tests.gateway.streaming import document, serving
from tests.kube import watch_server
from tests.support.samples import MODEL

Entry = watch_server.Document | int


def lease(version: int, holder: str = "pod-a") -> dict[str, Any]:
    return {"metadata": {"resourceVersion": str(version)}, "spec": {"holderIdentity": holder}}


async def stale_after_each_poll(script: list[Entry], directory: Path) -> list[bool]:
    """Whether the board was stale after each poll. Polls are five seconds apart."""
    async with watch_server.serving(watch_server.WatchServer([*script], []), directory) as kubeconfig:
        api, board, clock, seen = await KubeApi.connect(kubeconfig), Board(), Clock(), list[bool]()

        async def sleep(seconds: float) -> None:
            seen.append(board.stale)
            if len(seen) == len(script):
                await api.close()
                raise asyncio.CancelledError
            await clock.sleep(seconds)

        monitor = OperatorLeaseMonitor(api, "models", board, clock, sleep)
        with pytest.raises(asyncio.CancelledError):
            await monitor.run()
    return seen


@pytest.mark.parametrize(
    ("script", "stale"),
    [
        ([lease(1), lease(2), lease(3)], [False] * 3),
        ([lease(1)] * 7, [False] * 5 + [True] * 2),
        ([*[lease(1)] * 6, lease(2)], [False] * 5 + [True, False]),
        ([lease(1), lease(2, ""), lease(3, "pod-b")], [False, True, False]),
        ([404, lease(1)], [True, False]),
        ([500, 500], [False, False]),
        ([lease(1), *[500] * 6], [False] * 5 + [True] * 2),
    ],
    ids=["renewed", "silent", "back", "handed over", "never there", "unknown", "API server gone"],
)
async def test_the_lease_shows_whether_an_operator_acts(tmp_path: Path, script: list[Entry], stale: list[bool]) -> None:
    assert await stale_after_each_poll(script, tmp_path) == stale


async def test_without_the_right_to_read_the_lease_nothing_is_stale_and_polls_are_rare(tmp_path: Path) -> None:
    script: list[Entry] = [*[lease(1)] * 6, 403, lease(1)]
    assert await stale_after_each_poll(script, tmp_path) == [False] * 5 + [True, False, False]
    pauses = list[float]()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        raise asyncio.CancelledError

    async with watch_server.serving(watch_server.WatchServer([403], []), tmp_path) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        with pytest.raises(asyncio.CancelledError):
            await OperatorLeaseMonitor(api, "models", Board(), sleep=sleep).run()
        await api.close()
    assert pauses == [300]


async def test_the_least_rights_are_enough(cluster: Cluster, namespace: str) -> None:
    rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get"]}
    cluster.grant(namespace, "gateway", {**rule, "resourceNames": ["model-provisioner"]})
    api = await KubeApi.connect(cluster.kubeconfig_for_service_account(namespace, "gateway"))
    board, polls = Board(), list[bool]()

    async def sleep(_seconds: float) -> None:
        polls.append(board.stale)
        if len(polls) == 2:
            raise asyncio.CancelledError
        spec = {"holderIdentity": "pod-a", "leaseDurationSeconds": 60}
        cluster.apply(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": "model-provisioner", "namespace": namespace},
                "spec": spec,
            }
        )

    with pytest.raises(asyncio.CancelledError):
        await OperatorLeaseMonitor(api, namespace, board, sleep=sleep).run()
    await api.close()
    assert polls == [True, False]


async def test_active_downloads_are_sent_as_stale_and_as_active_again() -> None:
    moving = (Started(MODEL, 0), Progressed(400, 0, 100, 6))
    async with serving() as service:
        service.board.on_event("ADDED", document("done", 40, Available(MODEL)))
        service.board.on_event("ADDED", document("going", 41, *moving))
        async with service.reading() as reader:
            await reader.until(b"event: sync")
            service.board.set_stale(stale=True)
            await reader.until(b'"stale":true')
            service.board.set_stale(stale=True)
            service.board.set_stale(stale=False)
            await reader.until(b'"bytes_per_second":100')
            await service.goodbye()
            assert_golden("stale.txt", await reader.to_the_end())
