"""The operator's HTTP servers under clients that misbehave: the kubelet's probes are answered all the same."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from model_provisioner.controller.process.http import serve
from tests.support.stand import Stand

PROBE = b"GET /healthz HTTP/1.1\r\nHost: 10.1.2.3:8080\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def probes() -> AsyncIterator[int]:
    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    server = await serve([web.get("/healthz", healthz)], "127.0.0.1:0", "--listen")
    try:
        yield server.port
    finally:
        await server.close()


async def ask(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    return answer


async def test_connections_without_a_request_keep_no_probe_out() -> None:
    async with probes() as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(150)]
        assert (await ask(port, PROBE)).startswith(b"HTTP/1.1 200 ")
        ended = set[asyncio.StreamReader]()
        async with asyncio.timeout(60):
            while len(ended) < 50:
                ended.update([reader for reader, _ in silent if await is_at_end(reader)])
        for _, writer in silent:
            writer.close()


async def is_at_end(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(0.01):
            return await reader.read(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


@pytest.mark.parametrize("data", [b"secret\r\n\r\n", b"GET / HTTP/1.1\r\nAuthorization: secret\0\r\n\r\n", PROBE])
async def test_every_answer_forbids_to_guess_its_type_and_no_request_is_logged(
    caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    async with probes() as port:
        head, _, _ = (await ask(port, data)).partition(b"\r\n\r\n")
    assert b"X-Content-Type-Options: nosniff" in head.split(b"\r\n")
    assert "secret" not in caplog.text


@pytest.mark.parametrize("option", ["--health-listen", "--metrics-listen", "--worker-listen"])
def test_a_port_that_is_in_use_ends_the_operator_with_one_line(bench: Stand, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        more = ["--worker-connect=o:1", "--worker-image=i"] if option == "--worker-listen" else []
        operator = bench.start_operator(f"{option}={address}", *more)
        assert operator.process.wait(60) == 1
    lines = operator.output().splitlines()
    assert lines[-1] == f"model-provisioner operator: {option}: can't listen on {address}: Address already in use"
    assert not [line for line in lines if "Traceback" in line]
