"""The event stream of a running gateway, while the test writes the status in place of the operator."""

import pytest

from tests.gateway.caller import Desk


def test_a_download_is_sent_from_its_start_to_its_end(desk: Desk) -> None:
    with desk.caller("reader").stream() as stream:
        assert stream.next("sync").data == {"ids": []}
        uid = desk.apply("tiny", "hf:acme/tiny")["metadata"]["uid"]
        begun = stream.next("started")
        assert begun.data["model_ref"] == "hf:acme/tiny"
        assert (begun.data["download_id"], begun.data["namespace"], begun.data["name"]) == (uid, desk.namespace, "tiny")
        assert stream.next("progress").data["state"] == "Resolving"
        desk.tell("tiny", "Downloading", done=400)
        moved = stream.next("progress")
        assert (moved.data["bytes"], moved.data["total"], moved.data["percent"]) == (400, 1000, 40)
        desk.tell("tiny", "Available", done=1000)
        done = stream.next("complete")
        assert (done.data["model_ref"], done.data["path"]) == ("hf:acme/tiny", "hf/acme/tiny/tiny.Q4_K_M.gguf")
        assert int(done.id or 0) > int(moved.id or 0)
        desk.cluster.api.delete(desk.path("tiny"))
        assert stream.next("deleted").data["download_id"] == uid


def test_an_error_is_sent_under_both_names(desk: Desk) -> None:
    with desk.caller("reader").stream() as stream:
        desk.apply("broken", "hf:acme/broken")
        desk.tell("broken", "SourceNotFound", error="no such repository")
        error, failed = stream.next("error"), stream.next("failed")
    assert error.data == failed.data
    assert (error.data["error"], error.data["state"]) == ("no such repository", "SourceNotFound")


def test_a_stream_begins_with_the_active_and_the_requested_downloads(desk: Desk) -> None:
    desk.apply("going", "hf:acme/going")
    desk.apply("done", "hf:acme/done")
    desk.tell("going", "Downloading", done=100)
    desk.tell("done", "Available", done=1000)
    states = {"going": "Downloading", "done": "Available"}
    going, done = (desk.until_known(name, state)["download_id"] for name, state in states.items())
    with desk.caller("reader").stream() as stream:
        assert stream.next("started").data["name"] == "going"
        assert stream.next("progress").data["bytes"] == 100
        assert stream.next("sync").data == {"ids": sorted([going, done])}
    with desk.caller("reader").stream(f"download_id={done}") as stream:
        assert stream.next("complete").data["name"] == "done"
        assert stream.next("sync").data == {"ids": [done]}
        assert stream.ended.wait(60)


@pytest.mark.parametrize("query", ["model_ref=hf:acme/one", "model_ref=hf://acme/one", "namespace={namespace}", ""])
def test_filters_and_several_subscribers(desk: Desk, query: str) -> None:
    query = query.format(namespace=desk.namespace)
    names = ["one"] if "model_ref" in query else ["one", "two"]
    for name in ("one", "two"):
        desk.apply(name, f"hf:acme/{name}")
        desk.until_known(name)
    reader = desk.caller("reader")
    with reader.stream(query) as first, reader.stream(query) as second:
        for stream in (first, second):
            assert [stream.next("started").data["name"] for _ in names] == names
            stream.next("sync")
        desk.tell("one", "Downloading", done=10)
        for stream in (first, second):
            assert stream.next("progress").data["bytes"] == 10


def test_a_deletion_during_a_gap_is_seen_by_the_sync(desk: Desk) -> None:
    desk.apply("short", "hf:acme/short")
    desk.until_known("short")
    with desk.caller("reader").stream() as stream:
        known = stream.next("sync").data["ids"]
    assert len(known) == 1
    desk.cluster.api.delete(desk.path("short"))
    with desk.caller("reader").stream() as stream:
        if stream.next("sync").data["ids"]:
            assert stream.next("deleted").data["download_id"] == known[0]


def test_a_stream_says_goodbye_when_the_gateway_stops(desk: Desk) -> None:
    with desk.caller("reader").stream() as stream:
        stream.next("sync")
        assert desk.program.stop() == 0
        assert stream.ended.wait(60)


def test_a_wrong_ref_is_refused_before_the_stream_begins(desk: Desk) -> None:
    answer = desk.caller("reader").call("GET", "/v1/models/download/progress?model_ref=nonsense")
    assert (answer.status_code, answer.json()["title"]) == (400, "InvalidRef")
