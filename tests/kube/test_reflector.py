"""The reflector against a server that behaves as API servers do on bad days, and against a real one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.reflector import Reflector
from model_provisioner.kube.resource import collection_path, object_path
from tests.kube.watch_server import Document, WatchServer, item, listing, serving

Heard = list[tuple[str, str]]
GONE = {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}


class Pauses:
    """A sleep that takes no time and remembers how long it should have been."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def reflecting(server: WatchServer, directory: Path) -> AsyncIterator[tuple[Reflector, Heard, Pauses]]:
    async with serving(server, directory) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        pauses, heard = Pauses(), Heard()
        reflector = Reflector(api, "/things", sleep=pauses, jitter=lambda: 1.0)
        reflector.listen(lambda kind, document: heard.append((kind, document["metadata"]["name"])))
        task = asyncio.create_task(reflector.run())
        try:
            yield reflector, heard, pauses
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await api.close()


async def until(heard: Heard, expected: Heard) -> None:
    async with asyncio.timeout(10):
        while heard != expected:  # noqa: ASYNC110 -- a callback fills the list
            await asyncio.sleep(0.01)


async def test_changes_come_once_and_the_watch_goes_on_where_it_ended(tmp_path: Path) -> None:
    added = {"type": "ADDED", "object": item("b", 11)}
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "20"}}}
    changed = {"type": "MODIFIED", "object": item("a", 21)}
    removed = {"type": "DELETED", "object": item("b", 22)}
    server = WatchServer([listing(10, item("a", 5))], [[added, bookmark], [changed, removed, None]])
    async with reflecting(server, tmp_path) as (reflector, heard, _):
        await until(heard, [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")])
        assert [one["metadata"]["name"] for one in reflector.objects()] == ["a"]
    assert [request.get("resourceVersion") for request in server.requests] == [None, "10", "20"]
    assert server.requests[1]["allowWatchBookmarks"] == "true"


@pytest.mark.parametrize("gone", [[GONE], 410])
async def test_after_410_everything_is_listed_anew_and_deletions_are_told(
    tmp_path: Path, gone: list[Document | bytes | None] | int
) -> None:
    lists: list[Document | int] = [listing(10, item("a", 5), item("b", 6)), listing(30, item("a", 5))]
    server = WatchServer(lists, [gone, [None]])
    async with reflecting(server, tmp_path) as (_, heard, _pauses):
        await until(heard, [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "b")])


async def test_failures_are_waited_out_ever_longer(tmp_path: Path) -> None:
    server = WatchServer([500, 500, 503, listing(1, item("a", 1))], [[None]])
    async with reflecting(server, tmp_path) as (_, heard, pauses):
        await until(heard, [("ADDED", "a")])
    assert pauses.seconds == [0.5, 1.0, 2.0]


async def test_a_silent_watch_is_cut(tmp_path: Path) -> None:
    server = WatchServer([listing(1)], [[None]])
    async with serving(server, tmp_path) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        with pytest.raises(ApiError, match="could not be reached"):
            async for _ in api.watch("/things", {}, silence=0.2):
                pass
        await api.close()


async def test_a_real_api_server(cluster: Cluster, namespace: str) -> None:
    api = await KubeApi.connect(cluster.kubeconfig)
    reflector, heard = Reflector(api, collection_path(namespace)), Heard()
    reflector.listen(lambda kind, document: heard.append((kind, document["metadata"]["name"])))
    task = asyncio.create_task(reflector.run())
    await reflector.synced.wait()
    body = {
        "apiVersion": "models.rbee.dev/v1alpha1",
        "kind": "ModelDownload",
        "metadata": {"name": "one"},
        "spec": {"modelRef": "hf:a/b"},
    }
    await api.create(collection_path(namespace), body)
    await until(heard, [("ADDED", "one")])
    await api.patch(object_path(namespace, "one"), {"spec": {"priority": 1}})
    await until(heard, [("ADDED", "one"), ("MODIFIED", "one")])
    await api.delete(object_path(namespace, "one"))
    await until(heard, [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")])
    assert reflector.last_event_age() < 60
    task.cancel()
    await api.close()


async def test_a_callers_token_travels_without_our_own_identity(cluster: Cluster, namespace: str) -> None:
    """The administrator's client certificate would outrank the token, and let anybody do anything."""
    api = await KubeApi.connect(cluster.kubeconfig)
    token = await asyncio.to_thread(cluster.token, namespace, "default")
    with pytest.raises(ApiError) as refused:
        await api.get(collection_path(namespace), token=token)
    assert refused.value.status == 403
    with pytest.raises(ApiError) as unknown:
        await api.get(collection_path(namespace), token="forged")
    assert unknown.value.status == 401
    assert (await api.get(collection_path(namespace)))["items"] == []
    await api.close()


async def test_a_login_that_is_refused_is_tried_again_and_the_watch_goes_on(tmp_path: Path) -> None:
    changed = {"type": "MODIFIED", "object": item("a", 11)}
    server = WatchServer([401, listing(10, item("a", 5))], [401, [changed, None]])
    async with reflecting(server, tmp_path) as (_, heard, pauses):
        await until(heard, [("ADDED", "a"), ("MODIFIED", "a")])
    assert [request.get("resourceVersion") for request in server.requests] == [None, None, "10", "10"]
    assert len(pauses.seconds) == 2


@pytest.mark.parametrize("line", [b'{"type": "MODI', b"<html>\n"])
async def test_a_watch_that_is_cut_in_a_line_is_begun_anew(tmp_path: Path, line: bytes) -> None:
    changed = {"type": "MODIFIED", "object": item("a", 11)}
    server = WatchServer([listing(10, item("a", 5))], [[line], [changed, None]])
    async with reflecting(server, tmp_path) as (_, heard, _pauses):
        await until(heard, [("ADDED", "a"), ("MODIFIED", "a")])
