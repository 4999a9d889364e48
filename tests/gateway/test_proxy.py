"""The event stream behind nginx with buffering, which is its default."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from model_provisioner.domain.lifecycle.events import Available, Started
from tests.gateway.streaming import PROGRESS, Reader, Service, document, serving
from tests.support import nginx
from tests.support.samples import MODEL

COMPRESSING = "gzip on; gzip_proxied any; gzip_types *; gzip_min_length 1;"
IGNORING_OUR_HEADER = "proxy_ignore_headers X-Accel-Buffering; proxy_buffers 8 64k;"


@asynccontextmanager
async def proxied(service: Service, directory: Path, directives: str, **headers: str) -> AsyncIterator[Reader]:
    """A stream through nginx, which speaks HTTP/1.0 to the gateway by default."""
    assert service.server.port is not None
    with nginx.before(service.server.port, directory, directives) as port:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}{PROGRESS}", headers=headers) as answer,
        ):
            assert answer.status == 200
            yield Reader(answer)


@pytest.mark.parametrize(
    "directives",
    ["", "proxy_http_version 1.1; proxy_set_header Connection '';", COMPRESSING],
    ids=["1.0", "1.1", "gzip"],
)
async def test_every_event_comes_through_as_it_happens(tmp_path: Path, directives: str) -> None:
    async with serving(heartbeat=0.2) as service, proxied(service, tmp_path, directives) as reader:
        assert reader.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        await reader.until(b"event: sync")
        for step in range(1, 4):
            service.board.on_event("MODIFIED", document("tiny", step, Started(MODEL, step)))
            await reader.until(b"id: %d\n" % step)
        await reader.until(b": heartbeat")
        await service.goodbye()
        assert (await reader.to_the_end()).endswith(b": goodbye: the gateway stops; come back\n\n")


async def test_without_our_header_nginx_buffers_the_events(tmp_path: Path) -> None:
    """Shows that the test above can fail: the same nginx, which ignores `X-Accel-Buffering`."""
    async with serving() as service:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1), proxied(service, tmp_path, IGNORING_OUR_HEADER) as reader:
                await reader.until(b"event: sync")


async def test_the_last_id_is_passed_on_and_a_disconnected_client_is_no_longer_counted(tmp_path: Path) -> None:
    async with serving() as service:
        service.board.on_event("ADDED", document("done", 5, Available(MODEL)))
        async with proxied(service, tmp_path, "", **{"Last-Event-ID": "4"}) as reader:
            await reader.until(b"event: complete")
            await reader.until(b"event: sync")
            assert service.limiter.open == 1
        async with asyncio.timeout(60):
            while service.limiter.open:  # noqa: ASYNC110 -- another task's state
                await asyncio.sleep(0.01)
