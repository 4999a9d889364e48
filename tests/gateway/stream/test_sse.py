"""Server-sent events, byte for byte."""

from model_provisioner.gateway.stream import sse


def test_the_stream_as_bytes() -> None:
    assert sse.retry(3000) == b"retry: 3000\n\n"
    assert sse.comment("heartbeat") == b": heartbeat\n\n"
    hostile = {"model_ref": "hf:a/b\n\nevent: complete", "bytes": 1}
    assert sse.with_id(sse.event("progress", hostile), "7") == (
        b'id: 7\nevent: progress\ndata: {"model_ref":"hf:a/b\\n\\nevent: complete","bytes":1}\n\n'
    )


def test_the_last_event_has_the_id() -> None:
    pair = sse.event("error", {"error": "no\n\nevent: x"}) + sse.event("failed", {})
    assert sse.with_id(pair, "7") == pair.replace(b"event: failed", b"id: 7\nevent: failed")
