"""What clients without a token can do to a real gateway process: memory, connections, its log."""

import contextlib
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gateway.process import (
    MIB,
    GatewayProcess,
    flood,
    gateway_process,
    get,
    is_open,
    read_to_the_end,
)
from tests.gateway.test_serving import issue
from tests.gateway.unread_streams import downloads, unread, unread_streams
from tests.support.programs import eventually, open_files

CONNECTIONS = 1000
DOWNLOADS = 500
STREAMS = 200
MOST_KIB_OF_A_STREAM = 150
MOST_KIB_OF_A_LIST = 200
MOST_MIB = 150  # the chart's limit is 256 MiB
POST = (
    b"POST /v1/models/download HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"
    b"Content-Type: application/json\r\n"
)
BEGIN = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n"
MANY_HEADERS = b"".join(b"h%d: \r\n" % number for number in range(60))


def held(gateway: GatewayProcess, data: bytes, number: int = CONNECTIONS) -> contextlib.ExitStack:
    """Opens connections that each send `data`, as far as the gateway takes it, and stay open."""
    stack = contextlib.ExitStack()
    for _ in range(number):
        flood(stack.enter_context(gateway.connect()), data)
    return stack


@pytest.mark.parametrize(
    "data",
    [
        b"",
        BEGIN + b"X: ",
        b"GET /" + b"x" * 10 * MIB,
        BEGIN + b"".join(b"h%d: %b\r\n" % (number, b"x" * 8000) for number in range(200)),
        BEGIN + b"".join(b"h%d: \xf0\x9f\x98\x80%b\r\n" % (number, b"x" * 7000) for number in range(120)),
        POST + b"Content-Length: 65000\r\n\r\n" + b" " * 64_000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 60_000,
        (BEGIN + MANY_HEADERS + b"\r\n") * 2000,
        (POST + b"Content-Length: 30000\r\n\r\n" + b" " * 30_000) * 100,
    ],
    ids=["silent", "head", "line", "headers", "wide headers", "body", "chunks", "pipeline", "pipelined bodies"],
)
@pytest.mark.timeout(300)
def test_a_thousand_unfinished_requests_stay_below_the_memory_limit(tmp_path: Path, data: bytes) -> None:
    with gateway_process(tmp_path, "--auth=token") as gateway, held(gateway, data):
        time.sleep(1)
        assert gateway.memory("VmHWM") < MOST_MIB
        assert b" 200 OK" in gateway.ask(get("/readyz"))


UNFINISHED = {
    "silent": b"",
    "head": b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
    "body": POST + b"Content-Length: 65000\r\n\r\n{",
    "body that is not read": b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
    "large body that is not read": (
        b"GET /v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\n" + b"x" * 90_000
    ),
}


def test_unfinished_requests_end_and_a_slow_body_is_answered_with_408(tmp_path: Path) -> None:
    """One test for all, because each takes up to half a minute."""
    with gateway_process(tmp_path, "--auth=token") as gateway, contextlib.ExitStack() as stack:
        clients = {name: stack.enter_context(gateway.connect(data)) for name, data in UNFINISHED.items()}
        slow = stack.enter_context(gateway.connect(UNFINISHED["body"]))
        dripping, drip = stack.enter_context(gateway.connect()), iter(b"GET / HTTP/1.1\r\nX: " + b"x" * 10_000)

        def is_closed() -> bool:
            with contextlib.suppress(ConnectionError):
                dripping.send(bytes([next(drip)]))
            return not is_open(dripping)

        eventually(is_closed, "a head that comes byte by byte ends", 40)
        for name, client in clients.items():
            eventually(lambda client=client: not is_open(client), f"{name}: the connection is closed", 60)  # type: ignore[misc]
        answer = read_to_the_end(slow)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer


def connections(gateway: GatewayProcess) -> int:
    """How many sockets the process has open (Linux)."""
    return sum(file.startswith("socket:") for file in open_files(gateway.program.process.pid))


@pytest.mark.timeout(300)
def test_more_connections_than_are_served_keep_no_client_out(tmp_path: Path) -> None:
    """Streams that are open, and a client that comes now, are served; connections without a request make room."""
    with gateway_process(tmp_path, "--max-streams=10") as gateway, contextlib.ExitStack() as stack:
        stream = stack.enter_context(gateway.connect(get("/v1/models/download/progress")))
        eventually(lambda: b"event: sync" in stream.recv(65536), "the stream is open")
        for _ in range(CONNECTIONS):
            stack.enter_context(gateway.connect())
        assert b" 200 OK" in gateway.ask(get("/v1/models"))
        sooner_than_each_ends_by_itself = 8
        eventually(
            lambda: connections(gateway) < 600,
            "connections without a request are closed",
            sooner_than_each_ends_by_itself,
        )
        assert is_open(stream)


@pytest.mark.timeout(300)
def test_handshakes_that_never_finish_stay_below_the_memory_limit(tmp_path: Path) -> None:
    _, chain, key = issue(tmp_path)
    with gateway_tls(tmp_path, chain, key) as (gateway, ask), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(gateway.connect(b"\x16\x03\x01")) for _ in range(CONNECTIONS)]
        time.sleep(1)
        assert gateway.memory() < MOST_MIB
        assert b" 200 OK" in ask(get("/readyz"))
        eventually(lambda: not any(map(is_open, clients)), "the gateway closes the connections", 60)


@pytest.mark.timeout(300)
def test_a_thousand_tls_connections_stay_below_the_memory_limit(tmp_path: Path) -> None:
    _, chain, key = issue(tmp_path)
    context = untrusting()
    with gateway_tls(tmp_path, chain, key) as (gateway, ask), contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            client = stack.enter_context(context.wrap_socket(stack.enter_context(gateway.connect())))
            client.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert gateway.memory() < MOST_MIB
        assert b" 200 OK" in ask(get("/readyz"))


def untrusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@contextlib.contextmanager
def gateway_tls(directory: Path, chain: Path, key: Path) -> Iterator[tuple[GatewayProcess, Callable[[bytes], bytes]]]:
    with gateway_process(directory, f"--tls-cert={chain}", f"--tls-key={key}", tls=untrusting()) as gateway:

        def ask(data: bytes) -> bytes:
            with gateway.connect() as plain, untrusting().wrap_socket(plain) as client:
                client.sendall(data)
                return read_to_the_end(client)

        yield gateway, ask


MALFORMED = {
    "no request": b"canary-secret\r\n\r\n",
    "header": b"GET / HTTP/1.1\r\nAuthorization: Bearer canary-secret\r\nbroken header\r\n\r\n",
    "null in the token": b"GET / HTTP/1.1\r\nAuthorization: Bearer canary-secret\x00\r\n\r\n",
    "long token": b"GET / HTTP/1.1\r\nAuthorization: Bearer canary-secret" + b"x" * 9000 + b"\r\n\r\n",
    "ticket": b"GET /v1/models/download/progress?ticket=canary-secret HTTP/1.1 x\r\n\r\n",
    "ticket in a long line": b"GET /?ticket=canary-secret" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /?ticket=canary-secret HTTP/1.1\r\nHost: canary-secret\r\nHost: b\r\n\r\n",
    "target": b"GET canary-secret HTTP/1.1\r\nHost: a\r\n\r\n",
    "authority": b"CONNECT canary-secret:x:y HTTP/1.1\r\nHost: a\r\n\r\n",
    "length": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: canary-secret\r\n\r\n",
    "chunk": POST + b"Transfer-Encoding: chunked\r\n\r\ncanary-secret\r\n",
    "second request": get("/healthz").replace(b"close", b"keep-alive") + b"canary-secret\r\n\r\n",
    "bytes in the path": get("/v1/models/downloads/%0Acanary-secret%ff"),
    "gzip": POST + b"Content-Encoding: gzip\r\nContent-Length: 13\r\n\r\ncanary-secret",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_request_is_not_in_the_log(tmp_path: Path, data: bytes) -> None:
    with gateway_process(tmp_path, "--auth=token") as gateway:
        answer = gateway.ask(data)
        assert b"canary-secret" not in answer.replace(b"/%0Acanary-secret", b"")
    assert "canary-secret" not in gateway.program.output()
    assert "Traceback" not in gateway.program.output()


def test_malformed_requests_are_one_line_of_the_log(tmp_path: Path) -> None:
    with gateway_process(tmp_path) as gateway:
        before = len(gateway.program.output().splitlines())
        for data in list(MALFORMED.values())[:6] * 10:
            gateway.ask(data)
        lines = gateway.program.output().splitlines()[before:]
    assert len(lines) == 1
    assert "malformed request" in lines[0]


@pytest.mark.parametrize(
    "data",
    [
        *list(MALFORMED.values())[:6],
        *(get(path) for path in ("/", "/healthz", "/metrics", "/v1/models", "/openapi.json", "/nothing")),
        get("/v1/models", host="evil.example"),
        get("/v1/models/download/progress?download_id=none", more="Last-Event-ID: 1\r\n"),
        b"PUT / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nExpect: nonsense\r\nConnection: close\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ],
)
def test_every_answer_forbids_to_guess_its_type(open_gateway: GatewayProcess, data: bytes) -> None:
    head, _, _ = open_gateway.ask(data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.")
    assert b"X-Content-Type-Options: nosniff" in head.split(b"\r\n")


def test_the_page_may_run_scripts_of_its_own_origin_alone(open_gateway: GatewayProcess) -> None:
    head, _, page = open_gateway.ask(get("/")).partition(b"\r\n\r\n")
    (policy,) = [line for line in head.split(b"\r\n") if line.startswith(b"Content-Security-Policy: ")]
    assert {b"default-src 'none'", b"script-src 'self'", b"frame-ancestors 'none'"} < set(
        policy.partition(b": ")[2].split(b"; ")
    )
    assert b"<script>" not in page


@pytest.fixture(scope="module")
def open_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with gateway_process(tmp_path_factory.mktemp("open"), "--auth=none") as process:
        yield process


@pytest.mark.timeout(300)
def test_streams_that_are_not_read_cost_little_each(tmp_path: Path) -> None:
    """`python -m tests.gateway.unread_streams` measures the same with 1,000 streams and 1,500 downloads."""
    with gateway_process(tmp_path, objects=downloads(DOWNLOADS)) as gateway:
        before = gateway.memory()
        with unread_streams(gateway, STREAMS):
            assert 1024 * (gateway.memory("VmHWM") - before) / STREAMS < MOST_KIB_OF_A_STREAM


@pytest.mark.timeout(300)
def test_lists_that_are_not_read_cost_little_each(tmp_path: Path) -> None:
    with gateway_process(tmp_path, objects=downloads(DOWNLOADS)) as gateway:
        assert len(gateway.ask(get("/v1/models/downloads?all=true"))) > 250 * DOWNLOADS
        before = gateway.memory()
        with unread(gateway, get("/v1/models/downloads?all=true"), STREAMS):
            time.sleep(2)
            assert 1024 * (gateway.memory("VmHWM") - before) / STREAMS < MOST_KIB_OF_A_LIST
