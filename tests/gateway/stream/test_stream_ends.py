"""How streams resume and end: gaps, filters, retries, and clients that do not read."""

import asyncio
import socket
import time

import pytest

from model_provisioner.domain.errors import SourceNotFound
from model_provisioner.domain.lifecycle.events import Available, Failed, Queued, ReconcileHandled, Started
from tests.gateway.streaming import LONG_AGO, PROGRESS, document, serving
from tests.support.samples import MODEL

FAILED = Failed(SourceNotFound("no such repository"), None)
HANDLED = "2026-01-01T00:00:01.000Z"


@pytest.mark.parametrize("query", ["download_id=uid-short", "model_ref=hf:acme/short"])
async def test_a_filtered_stream_ends_when_its_download_is_deleted(query: str) -> None:
    async with serving() as service:
        service.board.on_event("ADDED", document("short", 1, Started(MODEL, 0)))
        async with service.reading(query) as reader:
            await reader.until(b"event: sync")
            service.board.on_event("DELETED", document("short", 2, Started(MODEL, 0)))
            assert (await reader.to_the_end()).count(b"event: deleted") == 1


async def test_a_model_that_is_being_deleted_is_not_told_as_complete_and_its_stream_ends_with_it() -> None:
    async with serving() as service:
        going = document("going", 2, Available(MODEL))
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        service.board.on_event("ADDED", going)
        async with service.reading("download_id=uid-going") as reader:
            await reader.until(b"event: sync")
            service.board.on_event("DELETED", going)
            told = await reader.to_the_end()
        assert b'"state":"Terminating"' in told
        assert b"event: complete" not in told
        assert told.count(b"event: deleted") == 1


async def test_an_unfiltered_stream_outlives_its_downloads() -> None:
    async with serving() as service, service.reading() as reader:
        service.board.on_event("ADDED", document("one", 1, Available(MODEL)))
        await reader.until(b"event: complete")
        service.board.on_event("DELETED", document("one", 2, Available(MODEL)))
        await reader.until(b"event: deleted")
        service.board.on_event("ADDED", document("two", 3))
        await reader.until(b"event: started")


async def test_a_stalled_download_that_was_asked_to_try_again_has_not_ended() -> None:
    async with serving() as service:
        service.board.on_event("ADDED", document("again", 1, FAILED, reconcile_at=HANDLED))
        async with service.reading("download_id=uid-again") as reader:
            await reader.until(b"event: sync")
            assert b"event: failed" not in reader.body
            failed_again = document("again", 2, ReconcileHandled(HANDLED), FAILED, reconcile_at=HANDLED)
            service.board.on_event("MODIFIED", failed_again)
            assert b"event: failed" in await reader.to_the_end()


async def test_a_resumed_stream_has_what_ended_since_however_long_ago() -> None:
    async with serving() as service:
        service.board.on_event("ADDED", document("before", 5, Available(MODEL), at=LONG_AGO))
        service.board.on_event("ADDED", document("after", 9, Available(MODEL), at=LONG_AGO))
        async with service.reading(**{"Last-Event-ID": "7"}) as reader:
            await reader.until(b"event: sync")
        assert b'"name":"after"' in reader.body
        assert b'"name":"before"' not in reader.body
        assert b'{"ids":["uid-after","uid-before"]}' in reader.body


@pytest.mark.parametrize("nonsense", ["", "-1", "²", "1.5", "9" * 5000, "uid-x"])
async def test_an_invalid_last_event_id_is_ignored(nonsense: str) -> None:
    async with serving() as service:
        service.board.on_event("ADDED", document("old", 5, Available(MODEL), at=LONG_AGO))
        async with service.reading(**{"Last-Event-ID": nonsense}) as reader:
            await reader.until(b"event: sync")
        assert b"event: complete" not in reader.body


async def test_an_id_is_sent_only_after_everything_up_to_it() -> None:
    async with serving() as service:
        for name, version in (("newest", 9), ("older", 4)):
            service.board.on_event("ADDED", document(name, version, Started(MODEL, 0)))
        async with service.reading() as reader:
            await reader.until(b"event: sync")
            assert reader.body.count(b"id: ") == 1
            assert b"id: 9\nevent: sync" in reader.body
            service.board.on_event("MODIFIED", document("newest", 11, Available(MODEL)))
            service.board.on_event("MODIFIED", document("older", 10, Available(MODEL)))
            await reader.until(b"uid-older")
        assert reader.body.count(b"id: ") == 2
        assert b'id: 11\nevent: complete\ndata: {"model_ref":"hf:acme/older"' in reader.body


async def test_a_stream_without_changes_sends_heartbeats() -> None:
    async with serving(heartbeat=0.05) as service, service.reading() as reader:
        await reader.until(b": heartbeat")
        await reader.until(b": heartbeat")


async def test_a_long_queue_is_sent_quickly() -> None:
    async with serving() as service:
        for number in range(3000):
            service.board.on_event("ADDED", document(f"n{number:04}", number + 1, Queued("waiting")))
        begun = time.process_time()
        async with service.reading() as reader:
            await reader.until(b"event: sync")
        assert reader.body.count(b"event: started") == 3000
        assert b'"queue_position":3000' in reader.body
        assert time.process_time() - begun < 5, "positions in the queue must not be computed for each event"


async def test_places_in_the_queue_move_up() -> None:
    async with serving() as service, service.reading() as reader:
        service.board.on_event("ADDED", document("first", 1, Queued("waiting")))
        service.board.on_event("ADDED", document("second", 2, Queued("waiting")))
        await reader.until(b'"queue_position":2')
        service.board.on_event("MODIFIED", document("first", 3, Started(MODEL, 0)))
        service.board.on_event("MODIFIED", document("second", 4, Queued("next")))
        await reader.until(b'"name":"second"')
        first, second = reader.body.rsplit(b"event: progress", 2)[-2:]
        assert (b'"queue_position":null' in first, b'"queue_position":1' in second) == (True, True)


async def test_a_client_that_never_reads_is_disconnected_and_delays_no_other() -> None:
    async with serving(write_timeout=0.5) as service, service.reading() as reader:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", service.server.port))
            deaf.sendall(f"GET {PROGRESS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert service.server.handler is not None
            connections = service.server.handler
            async with asyncio.timeout(60):
                version = 0
                while version == 0 or len(connections.connections) > 1:
                    for number in range(100):
                        version += 1
                        service.board.on_event("MODIFIED", document(f"n{number}", version, Started(MODEL, version)))
                    await reader.until(b'"name":"n99"')
        service.board.on_event("ADDED", document("last", version + 1))
        await reader.until(b"uid-last")


@pytest.mark.parametrize("query", ["download_id=uid-done", "model_ref=hf:acme/done", "download_id=uid-deleted"])
async def test_a_client_that_resumes_an_ended_stream_is_answered_with_204(query: str) -> None:
    """An EventSource reconnects after every end of a stream, and stops only at 204."""
    async with serving() as service:
        service.board.on_event("ADDED", document("done", 5, Available(MODEL)))
        assert (await service.get(query, **{"Last-Event-ID": "5"})).status == 204
        async with service.reading(query) as reader:
            await reader.until(b"event: sync")


async def test_a_client_that_resumes_before_the_end_gets_it() -> None:
    async with serving() as service:
        service.board.on_event("ADDED", document("done", 5, Available(MODEL)))
        async with service.reading("download_id=uid-done", **{"Last-Event-ID": "4"}) as reader:
            assert b"event: complete" in await reader.to_the_end()


async def test_a_stream_waits_for_a_model_without_a_download() -> None:
    async with serving() as service, service.reading("model_ref=hf:acme/done", **{"Last-Event-ID": "4"}) as reader:
        service.board.on_event("ADDED", document("done", 5, Available(MODEL)))
        assert b"event: complete" in await reader.to_the_end()


async def test_a_client_that_does_not_read_does_not_keep_the_gateway_from_stopping() -> None:
    async with serving() as service:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", service.server.port))
            deaf.sendall(f"GET {PROGRESS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            async with asyncio.timeout(60):
                while not service.limiter.open:  # noqa: ASYNC110 -- another task's state
                    await asyncio.sleep(0.01)
            for number in range(5000):  # megabytes: more than the buffers of the connection take
                service.board.on_event("ADDED", document(f"n{number}", number + 1))
            await asyncio.sleep(0.2)
            await service.goodbye()
            async with asyncio.timeout(20):  # less than a client has to take what was written
                await service.server.close()
            assert service.limiter.open == 0
