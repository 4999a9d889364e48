"""Each scripted fault does what its name says, as often as it says, and the log counts the bytes that were sent."""

import concurrent.futures
import http.client
import json
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub

MODEL = "tiny.gguf"
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def content() -> bytes:
    return tiny_gguf(size=4 * MIB)


@pytest.fixture
def hub(content: bytes) -> Iterator[Hub]:
    with Hub(tls=False) as hub:
        hub.repository("owner/repo").add(MODEL, content)
        yield hub


def open_connection(origin: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(origin).netloc, timeout=10)


def signed_path(hub: Hub) -> str:
    with closing(open_connection(hub.endpoint)) as connection:
        connection.request("GET", f"/owner/repo/resolve/main/{MODEL}")
        location = connection.getresponse().headers["Location"]
    return str(location).removeprefix(hub.content_origin)


def get(hub: Hub, first: int | None = None) -> tuple[int, bytes]:
    """Status and body; if the connection ends early, the part of the body that arrived."""
    body = b""
    with closing(open_connection(hub.content_origin)) as connection:
        connection.request("GET", signed_path(hub), headers={} if first is None else {"Range": f"bytes={first}-"})
        with closing(connection.getresponse()) as response, suppress(ConnectionResetError):
            while piece := response.read1(65536):
                body += piece
    return response.status, body


def test_a_reset_comes_after_exactly_so_many_bytes_of_a_response(hub: Hub, content: bytes) -> None:
    hub.reset_after(3 * MIB)
    assert get(hub) == (200, content[: 3 * MIB])
    assert get(hub) == (200, content)
    hub.reset_after(1000, times=2)
    assert get(hub, first=MIB) == (206, content[MIB : MIB + 1000])
    assert get(hub, first=MIB) == (206, content[MIB : MIB + 1000])
    assert get(hub, first=MIB) == (206, content[MIB:])


def test_a_gate_holds_bodies_at_a_file_offset(hub: Hub, content: bytes) -> None:
    gate = hub.pause_at(2 * MIB)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        below = pool.submit(get, hub, MIB)
        gate.wait_reached(10)
        beyond = pool.submit(get, hub, 3 * MIB)
        assert hub.bytes_sent(MODEL) == MIB
        while hub.connections_high_water < 2:
            time.sleep(0.001)
        assert hub.bytes_sent(MODEL) == MIB, "nothing beyond the gate is sent either"
        gate.release()
        assert below.result(10) == (206, content[MIB:])
        assert beyond.result(10) == (206, content[3 * MIB :])
    assert get(hub)[0] == 200


def test_a_client_that_leaves_at_the_gate_is_no_longer_in_progress(hub: Hub, content: bytes) -> None:
    gate = hub.pause_at(1000)
    with closing(open_connection(hub.content_origin)) as connection:
        connection.request("GET", signed_path(hub))
        gate.wait_reached(10)
    hub.clear_faults()
    assert get(hub) == (200, content)
    hub.clear_log()
    assert hub.connections_high_water == 0
    assert hub.log == []


def test_waiting_for_a_gate_that_nobody_reaches_times_out(hub: Hub) -> None:
    with pytest.raises(TimeoutError, match="no body reached the gate"):
        hub.pause_at(MIB).wait_reached(0.01)


def test_failures_are_scripted_by_place_and_count(hub: Hub, content: bytes) -> None:
    hub.fail(503, times=2, headers={"Retry-After": "1"})
    assert [get(hub)[0] for _ in range(3)] == [503, 503, 200]
    hub.fail(403, path="other.gguf", times=None)
    assert get(hub) == (200, content)
    hub.fail(500, where="api", body=b"<html>")
    with closing(open_connection(hub.endpoint)) as connection:
        connection.request("GET", "/api/models/owner/repo")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (500, b"<html>")
        connection.request("GET", "/api/models/owner/repo")
        assert json.loads(connection.getresponse().read())["id"] == "owner/repo"
    assert [request.status for request in hub.log if request.origin == "content"] == [503, 503, 200, 200]


def test_corruption_flips_one_bit_of_one_byte(hub: Hub, content: bytes) -> None:
    hub.corrupt(MODEL, 2 * MIB, times=1)
    _, body = get(hub, first=MIB)
    wrong = [index for index, (a, b) in enumerate(zip(body, content[MIB:], strict=True)) if a != b]
    assert wrong == [MIB]
    assert body[MIB] ^ content[2 * MIB] == 1
    assert get(hub) == (200, content)


def test_ranges_can_be_ignored(hub: Hub, content: bytes) -> None:
    hub.ignore_ranges()
    assert get(hub, first=MIB) == (200, content)


def test_rules_hold_together(hub: Hub, content: bytes) -> None:
    hub.ignore_ranges(MODEL)
    hub.corrupt(MODEL, 5)
    hub.reset_after(10)
    damaged = content[:5] + bytes([content[5] ^ 1]) + content[6:]
    assert get(hub, first=MIB) == (200, damaged[:10])
    assert get(hub, first=MIB) == (200, damaged)
    hub.clear_faults()
    assert get(hub, first=MIB) == (206, content[MIB:])


def test_rates_limit_the_hub_or_each_connection(hub: Hub, content: bytes) -> None:
    """There are only lower bounds: a busy machine is slower, never faster."""
    size = len(content)
    for limit, least in ((hub.bytes_per_second, 0.5), (hub.bytes_per_connection, 0.25)):
        limit(size * 4)
        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda _: get(hub), range(2)))
        assert time.monotonic() - began >= least
        limit(None)


def test_the_log_counts_connections_side_by_side(hub: Hub) -> None:
    get(hub)
    get(hub)
    assert hub.connections_high_water == 1
    gate = hub.pause_at(0)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        bodies = [pool.submit(get, hub) for _ in range(3)]
        while hub.connections_high_water < 3:
            time.sleep(0.001)
        gate.release()
        concurrent.futures.wait(bodies)
    assert hub.connections_high_water == 3


def test_a_hub_that_is_down_refuses_and_comes_back_at_the_same_place(hub: Hub, content: bytes) -> None:
    endpoint = hub.endpoint
    hub.pause_at(MIB)
    with closing(open_connection(hub.content_origin)) as running:
        running.request("GET", signed_path(hub))
        with closing(running.getresponse()) as response:
            hub.down()
            with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
                response.read()
    with pytest.raises(ConnectionRefusedError):
        signed_path(hub)
    hub.clear_faults()
    hub.up()
    assert hub.endpoint == endpoint
    assert get(hub) == (200, content)


def test_clients_that_leave_in_the_middle_are_no_errors_of_the_hub(
    hub: Hub, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        with closing(open_connection(hub.content_origin)) as connection:
            connection.request("GET", signed_path(hub))
            connection.getresponse().close()
    assert get(hub) == (200, content)
    assert caplog.records == []


def test_the_hub_runs_as_a_process(tmp_path: Path, content: bytes) -> None:
    model = tmp_path / "models" / "owner" / "repo" / "folder" / MODEL
    model.parent.mkdir(parents=True)
    model.write_bytes(content)
    arguments = ["--directory", str(tmp_path / "models"), "--ca-out", str(tmp_path / "ca.pem")]
    command = [sys.executable, "-m", "tests.support.hub", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        url = f"{addresses['endpoint']}/owner/repo/resolve/main/folder/{MODEL}"
        try:
            context = ssl.create_default_context(cafile=addresses["caFile"])
            with urllib.request.urlopen(url, context=context, timeout=30) as response:
                fetched = response.read()
        finally:
            process.terminate()
    assert fetched == content
    assert process.returncode == 0
