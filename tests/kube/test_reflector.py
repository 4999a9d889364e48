"""The reflector with a scripted server that fails as API servers can, and with a real API server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.reflector import Reflector
from model_provisioner.kube.resource import collection_path, object_path
from tests.kube.watch_server import ABORT, Document, WatchServer, item, listing, serving

Heard = list[tuple[str, str]]
GONE = {"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "too old"}}


class Pauses:
    """A sleep that returns at once and records the requested seconds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


@asynccontextmanager
async def reflecting(
    server: WatchServer, directory: Path, silence: float = 60, **selecting: Any
) -> AsyncIterator[tuple[Reflector, Heard, Pauses]]:
    async with serving(server, directory) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        pauses, heard = Pauses(), Heard()
        reflector = Reflector(api, "/things", sleep=pauses, jitter=lambda: 1.0, silence=silence, **selecting)
        reflector.add_listener(lambda kind, document: heard.append((kind, document["metadata"]["name"])))
        task = asyncio.create_task(reflector.run())
        try:
            yield reflector, heard, pauses
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await api.close()


async def until(heard: Heard, expected: Heard) -> None:
    async with asyncio.timeout(60):
        while heard != expected:  # noqa: ASYNC110 -- a callback fills the list
            await asyncio.sleep(0.01)


async def until_asked(server: WatchServer, times: int) -> None:
    async with asyncio.timeout(60):
        while len(server.requests) < times:  # noqa: ASYNC110 -- the reflector sends the requests
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


async def test_what_comes_in_the_wrong_order_is_no_news(tmp_path: Path) -> None:
    late: list[Document | bytes | None] = [
        {"type": "ADDED", "object": item("b", 13)},
        {"type": "MODIFIED", "object": item("a", 12)},
        {"type": "MODIFIED", "object": item("a", 11)},
        {"type": "DELETED", "object": item("b", 15)},
        {"type": "MODIFIED", "object": item("b", 14)},
        {"type": "ADDED", "object": item("c", 10)},
    ]
    server = WatchServer([listing(9, item("a", 5))], [late, [None]])
    async with reflecting(server, tmp_path) as (reflector, heard, _pauses):
        await until(heard, [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b"), ("ADDED", "c")])
        known = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in reflector.objects()}
        assert known == {"a": "12", "c": "10"}
        await until_asked(server, 3)
    assert server.requests[2].get("resourceVersion") == "15"


async def test_an_object_that_left_the_selection_may_come_back(tmp_path: Path) -> None:
    edits: list[Document | bytes | None] = [
        {"type": "DELETED", "object": item("a", 12)},
        {"type": "ADDED", "object": item("a", 13)},
        {"type": "DELETED", "object": item("a", 14)},
        {"type": "MODIFIED", "object": item("a", 13)},
        {"type": "ADDED", "object": item("a", 15)},
    ]
    server = WatchServer([listing(10, item("a", 5))], [edits, [None]])
    async with reflecting(server, tmp_path) as (_, heard, _pauses):
        await until(heard, [(kind, "a") for kind in ("ADDED", "DELETED", "ADDED", "DELETED", "ADDED")])


async def test_a_list_is_read_in_pages_and_the_selectors_are_sent_always(tmp_path: Path) -> None:
    first = listing(10, item("a", 5))
    first["metadata"]["continue"] = "here"
    second = listing(10, item("b", 6))
    watch: list[list[Document | bytes | None] | int] = [410, [None]]
    server = WatchServer([first, second, listing(20, item("b", 6))], watch)
    selection = {"labelSelector": "a=b", "fieldSelector": "spec.nodeName="}
    async with reflecting(server, tmp_path, selection=selection, page_size=1) as (_, heard, _pauses):
        await until(heard, [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a")])
        await until_asked(server, 5)
    assert all(selection.items() <= request.items() for request in server.requests)
    asked = [(one.get("limit"), one.get("continue"), one.get("resourceVersion")) for one in server.requests]
    assert asked == [("1", None, None), ("1", "here", None), (None, None, "10"), ("1", None, None), (None, None, "20")]


async def test_410_again_and_again_is_no_reason_to_hurry(tmp_path: Path) -> None:
    server = WatchServer([listing(10)] * 4, [410, 410, 410, [None]])
    async with reflecting(server, tmp_path) as (_, _heard, pauses):
        await until_asked(server, 8)
    assert pauses.seconds == [0.5, 1.0, 2.0]


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
    reflector.add_listener(lambda kind, document: heard.append((kind, document["metadata"]["name"])))
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
    """The API server would prefer the administrator's client certificate to the token, and allow everything."""
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


async def test_a_watch_that_falls_silent_is_begun_anew_where_it_was(tmp_path: Path) -> None:
    added, changed = (
        {"type": kind, "object": item("a", version)} for kind, version in (("ADDED", 11), ("MODIFIED", 12))
    )
    server = WatchServer([listing(10)], [[added, None], [changed, None]])
    async with reflecting(server, tmp_path, silence=1) as (_, heard, _pauses):
        await until(heard, [("ADDED", "a"), ("MODIFIED", "a")])
    assert [request.get("resourceVersion") for request in server.requests[:3]] == [None, "10", "11"]


async def test_a_connection_that_is_reset_loses_nothing(tmp_path: Path) -> None:
    added, changed = (
        {"type": kind, "object": item("a", version)} for kind, version in (("ADDED", 11), ("MODIFIED", 12))
    )
    server = WatchServer([listing(10)], [[added, ABORT], [changed, None]])
    async with reflecting(server, tmp_path) as (_, heard, pauses):
        await until(heard, [("ADDED", "a"), ("MODIFIED", "a")])
        assert pauses.seconds == [0.5]


async def test_a_busy_api_server_is_given_the_time_it_asks_for(tmp_path: Path) -> None:
    server = WatchServer([429, listing(10, item("a", 5))], [[None]])
    server.refusal_headers = {"Retry-After": "7"}
    async with reflecting(server, tmp_path) as (_, heard, pauses):
        await until(heard, [("ADDED", "a")])
        assert pauses.seconds == [7.0, 0.5]


async def test_pages_of_large_objects_have_fewer_of_them(tmp_path: Path) -> None:
    one, two, three = (item(name, 5) | {"spec": "x" * 3_000_000} for name in "abc")
    fits = listing(10, one)
    fits["metadata"]["continue"] = "rest"
    huge = item("huge", 6) | {"spec": "x" * 9_000_000}
    lists: list[Document | int] = [
        listing(10, one, two, three),
        listing(10, one, two),
        fits,
        listing(10, two, three),
        listing(10, huge),
    ]
    server = WatchServer(lists, [[None]])
    async with reflecting(server, tmp_path, page_size=50) as (_, heard, _pauses):
        await until(heard, [("ADDED", "a"), ("ADDED", "huge")])
    asked = [(request["limit"], request.get("continue")) for request in server.requests if "watch" not in request]
    assert asked == [("50", None), ("12", None), ("3", None), ("3", "rest"), ("1", "rest")]


async def test_a_token_that_was_rotated_is_read_from_its_file(tmp_path: Path) -> None:
    changed = {"type": "MODIFIED", "object": item("a", 11)}
    server = WatchServer([listing(10, item("a", 5))], [401, [changed, None]])
    async with serving(server, tmp_path) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        (tmp_path / "token").write_text("rotated")
        reflector, heard = Reflector(api, "/things", sleep=Pauses()), Heard()
        reflector.add_listener(lambda kind, document: heard.append((kind, document["metadata"]["name"])))
        task = asyncio.create_task(reflector.run())
        await until(heard, [("ADDED", "a"), ("MODIFIED", "a")])
        task.cancel()
        await api.close()
    assert server.tokens == ["own-token", "own-token", "rotated"]


async def test_what_a_write_answered_is_known_ahead_of_the_watch_and_told_once(tmp_path: Path) -> None:
    added = {"type": "ADDED", "object": item("b", 11)}
    server = WatchServer([listing(10, item("a", 5))], [[added, None]])
    async with reflecting(server, tmp_path) as (reflector, heard, _):
        await reflector.synced.wait()
        reflector.record_write(item("b", 11))
        assert heard == [("ADDED", "a"), ("ADDED", "b")]
        reflector.record_write(item("a", 5))
        await asyncio.sleep(0.1)
        assert heard == [("ADDED", "a"), ("ADDED", "b")]


async def test_what_the_watch_has_left_behind_does_not_come_back(tmp_path: Path) -> None:
    events = [{"type": kind, "object": item("b", version)} for kind, version in (("ADDED", 11), ("DELETED", 12))]
    server = WatchServer([listing(10)], [[*events, None]])
    async with reflecting(server, tmp_path) as (reflector, heard, _):
        await until(heard, [("ADDED", "b"), ("DELETED", "b")])
        reflector.record_write(item("b", 11))
        assert [*reflector.objects()] == []


async def test_a_list_deletes_what_a_write_brought_only_if_it_is_newer(tmp_path: Path) -> None:
    lists: list[Document | int] = [listing(10), listing(10), listing(12)]
    server = WatchServer(lists, [[None], [GONE], [GONE], [None]])
    async with reflecting(server, tmp_path, silence=0.3) as (reflector, heard, _):
        await reflector.synced.wait()
        reflector.record_write(item("b", 11))
        await until(heard, [("ADDED", "b"), ("DELETED", "b")])
    assert len([request for request in server.requests if "watch" not in request]) == 3


async def test_no_more_than_the_gist_is_kept_but_all_is_told(tmp_path: Path) -> None:
    changed = {"type": "MODIFIED", "object": item("a", 11) | {"spec": {"large": True}}}
    server = WatchServer([listing(10, item("a", 5), item("b", 6))], [[changed, None]])
    told: list[Document] = []
    async with reflecting(server, tmp_path) as (reflector, heard, _):
        reflector.add_listener(lambda _, document: told.append(document))
        reflector.set_transform(lambda document: {"metadata": document["metadata"]})
        await until(heard, [("ADDED", "a"), ("ADDED", "b"), ("MODIFIED", "a")])
        assert all(one.keys() == {"metadata"} for one in reflector.objects())
    assert told[-1]["spec"] == {"large": True}
