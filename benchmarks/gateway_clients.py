"""The clients of the gateway's benchmark, in a process of their own: thousands of streams over loopback.

`python -m benchmarks.gateway_clients listen …` keeps streams open and records when each state was first seen;
`… churn …` connects and leaves again. It reads sockets as bytes: a client library would dominate the measurement.
"""

import argparse
import asyncio
import json
import re
import resource
import socket
import sys
import time
from array import array
from functools import partial
from pathlib import Path

STATE = re.compile(rb'"name":"bench-(\d+)".{0,60}?"bytes":(\d+)')
SEQUENCES = 1_000_000  # a state is recorded as download × this + sequence

_LOOK_SECONDS = 3.0  # time for `gateway` to measure the process before the clients leave


class Seen:
    """When each state was seen, on the monotonic clock, which all processes of a machine share."""

    def __init__(self) -> None:
        self.states = array("Q")
        self.times = array("d")

    def note(self, download: int, after: int, sequence: int) -> None:
        """Records the states after `after` up to `sequence`. A skipped state counts as seen with the newer one."""
        now = time.monotonic()
        for number in range(after + 1, sequence + 1):
            self.states.append(download * SEQUENCES + number)
            self.times.append(now)


class Listener(asyncio.Protocol):
    """One stream. Searches complete events for states as they arrive."""

    def __init__(self, request: bytes, seen: Seen, lost: list[float], caught_up: asyncio.Semaphore) -> None:
        self._request = request
        self._seen = seen
        self._lost = lost
        self._caught_up = caught_up
        self._rest = b""
        self._newest: dict[int, int] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        whole, _, self._rest = (self._rest + data).rpartition(b"\n\n")
        if b"event: sync" in whole:
            self._caught_up.release()
        for found in STATE.finditer(whole):
            download, sequence = int(found[1]), int(found[2])
            before = self._newest.get(download)
            if before is not None:
                self._seen.note(download, before, sequence)
            self._newest[download] = max(sequence, before or 0)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- asyncio's signature
        self._lost.append(time.monotonic())


def request(token: str) -> bytes:
    path = "/v1/models/download/progress"
    return f"GET {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def deaf_client(port: int, token: str) -> socket.socket:
    """A client that requests a stream and never reads a byte of it."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", port))
    deaf.sendall(request(token))
    return deaf


async def listen(port: int, tokens: list[str], clients: int, deaf: int, seconds: float, to: Path | None) -> None:
    """Prints `ready` when all clients have their snapshot, and writes the states seen to `to`, if given, at the end."""
    loop, seen, lost, caught_up = asyncio.get_running_loop(), Seen(), list[float](), asyncio.Semaphore(0)
    silent = [deaf_client(port, tokens[number % len(tokens)]) for number in range(deaf)]
    transports = []
    for number in range(clients):
        ask = request(tokens[number % len(tokens)])
        make = partial(Listener, ask, seen, lost, caught_up)
        transport, _ = await loop.create_connection(make, "127.0.0.1", port)
        transports.append(transport)
    for _ in range(clients):
        await caught_up.acquire()
    print("ready", flush=True)
    before = time.process_time()
    await asyncio.sleep(seconds)
    used = time.process_time() - before
    print(json.dumps({"cut": len(lost), "cpu": used}), flush=True)
    await asyncio.sleep(_LOOK_SECONDS)
    for transport in transports:
        transport.abort()
    for one in silent:
        one.close()
    if to:
        with to.open("wb") as file:
            seen.states.tofile(file)
            seen.times.tofile(file)


async def churn(port: int, tokens: list[str], times: int, at_once: int) -> None:
    """Connects, reads to the end of the snapshot, and aborts the connection, `times` in all."""
    left = iter(range(times))

    async def one_after_the_other(number: int) -> None:
        for _ in left:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(tokens[number % len(tokens)]))
            await reader.readuntil(b"event: sync")
            writer.transport.abort()

    await asyncio.gather(*(one_after_the_other(number) for number in range(at_once)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["listen", "churn"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--deaf", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--times", type=int, default=50_000)
    parser.add_argument("--to", type=Path)
    given = parser.parse_args()
    tokens = json.load(sys.stdin)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if given.what == "listen":
        asyncio.run(listen(given.port, tokens, given.clients, given.deaf, given.seconds, given.to))
    else:
        asyncio.run(churn(given.port, tokens, given.times, given.clients))


if __name__ == "__main__":
    main()
