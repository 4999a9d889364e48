"""Server-sent events, byte for byte."""

from model_provisioner.gateway import sse


def test_the_stream_as_bytes() -> None:
    assert sse.retry(3000) == b"retry: 3000\n\n"
    assert sse.comment("heartbeat") == b": heartbeat\n\n"
    hostile = {"model_ref": "hf:a/b\n\nevent: complete", "bytes": 1}
    assert sse.event("progress", hostile, "7") == (
        b'id: 7\nevent: progress\ndata: {"model_ref":"hf:a/b\\n\\nevent: complete","bytes":1}\n\n'
    )
