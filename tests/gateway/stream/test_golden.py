"""The event stream byte for byte, for clients in other languages.

`UPDATE_GOLDENS=1 pytest tests/gateway/stream/test_golden.py` rewrites the transcripts; `git diff` shows the changes.
"""

import os
from dataclasses import replace
from pathlib import Path

from model_provisioner.domain.errors import SourceNotFound
from model_provisioner.domain.lifecycle.events import (
    Available,
    Failed,
    Progressed,
    Queued,
    Resolved,
    Started,
    Suspended,
)
from tests.gateway.streaming import LONG_AGO, document, serving
from tests.support.samples import MODEL, NOW

GOLDENS = Path(__file__).parents[2] / "data" / "gateway"
FAILED = Failed(SourceNotFound("acme/broken does not exist,\nor is private: set credentialsSecretRef"), NOW)


def assert_golden(name: str, transcript: bytes) -> None:
    golden = GOLDENS / name
    if os.environ.get("UPDATE_GOLDENS"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_bytes(transcript)
    assert transcript == golden.read_bytes(), "the stream changed; see it with `UPDATE_GOLDENS=1 pytest` and git diff"


async def test_a_download_from_its_creation_to_its_deletion() -> None:
    steps = [
        ("ADDED", document("tiny", 10), b"event: progress"),
        ("MODIFIED", document("tiny", 11, Resolved(MODEL), Queued("1 other is first")), b'"queue_position":1'),
        ("MODIFIED", document("tiny", 12, Started(MODEL, 0), Progressed(400, 0, 100, 6)), b"event: progress"),
        ("MODIFIED", document("tiny", 13, Started(MODEL, 0), Available(MODEL)), b"event: complete"),
        ("DELETED", document("tiny", 14, Started(MODEL, 0), Available(MODEL)), b"event: deleted"),
    ]
    async with serving() as service, service.reading() as reader:
        await reader.until(b"event: sync")
        for kind, seen, expected in steps:
            service.board.on_event(kind, seen)
            await reader.until(expected)
        await service.goodbye()
        assert_golden("lifecycle.txt", await reader.to_the_end())


async def test_the_snapshot_has_active_and_recent_downloads_and_the_ids_of_all() -> None:
    there = [
        document("active", 21, Started(MODEL, 0), Progressed(250, 0, 50, 15)),
        document("done-lately", 22, Available(MODEL)),
        document("done-long-ago", 23, Available(MODEL), at=LONG_AGO),
        document("failed-lately", 24, FAILED),
        document("failed-long-ago", 25, FAILED, at=LONG_AGO),
        document("paused", 26, Resolved(MODEL), Suspended()),
        document("tried-again", 27, FAILED, at=LONG_AGO, reconcile_at="2026-01-01T00:00:00Z"),
    ]
    async with serving() as service:
        for seen in there:
            service.board.on_event("ADDED", seen)
        async with service.reading() as reader:
            await reader.until(b"event: sync")
            await service.goodbye()
            assert_golden("snapshot.txt", await reader.to_the_end())


async def test_a_filtered_stream_ends_with_its_download() -> None:
    async with serving() as service:
        service.board.on_event("ADDED", document("other", 30, Started(MODEL, 0)))
        service.board.on_event("ADDED", document("wanted", 31, Started(MODEL, 0)))
        async with service.reading("download_id=uid-wanted") as reader:
            await reader.until(b"event: sync")
            service.board.on_event("MODIFIED", document("other", 32, Started(MODEL, 500)))
            path = "hf/acme/wanted/größe.gguf"
            model = replace(MODEL, path=path, files=(replace(MODEL.files[0], path=path),))
            service.board.on_event("MODIFIED", document("wanted", 33, Started(model, 0), Available(model)))
            assert_golden("filtered.txt", await reader.to_the_end())


async def test_a_resumed_stream_begins_with_what_has_changed_since() -> None:
    async with serving() as service:
        service.board.on_event("ADDED", document("seen", 50, Available(MODEL), at=LONG_AGO))
        service.board.on_event("ADDED", document("missed", 52, FAILED, at=LONG_AGO))
        service.board.on_event("ADDED", document("moving", 53, Started(MODEL, 0)))
        async with service.reading(**{"Last-Event-ID": "51"}) as reader:
            await reader.until(b"event: sync")
            await service.goodbye()
            assert_golden("resumed.txt", await reader.to_the_end())
