"""What event streams cost that no client reads: `python -m tests.gateway.unread_streams`.

`test_attacks` measures with smaller numbers. The gateway is a real process; the API server is scripted.
"""

import argparse
import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_provisioner.domain.lifecycle.events import Available, Started
from tests.gateway.process import HOST, GatewayProcess, gateway_process, get
from tests.gateway.streaming import PROGRESS, document
from tests.support.programs import eventually
from tests.support.samples import MODEL


def downloads(number: int) -> list[dict[str, Any]]:
    """Half of them download, the others are ready."""
    return [document(f"m{one}", one + 1, Started(MODEL, 1) if one % 2 else Available(MODEL)) for one in range(number)]


@contextlib.contextmanager
def unread(gateway: GatewayProcess, request: bytes, number: int) -> Iterator[list[socket.socket]]:
    """Clients that send a request and read nothing of the response."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(number):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((HOST, gateway.port))
            client.sendall(request)
            clients.append(client)
        yield clients


@contextlib.contextmanager
def unread_streams(gateway: GatewayProcess, number: int) -> Iterator[None]:
    """The same with streams, when all are open."""
    with unread(gateway, get(PROGRESS), number):
        eventually(lambda: open_streams(gateway) >= number, "the streams are open")
        yield


def open_streams(gateway: GatewayProcess) -> float:
    lines = gateway.ask(get("/metrics")).decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("model_provisioner_gateway_streams "))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--downloads", type=int, default=1500)
    given = parser.parse_args()
    flags = [f"--max-streams-per-identity={given.streams}"]
    with (
        tempfile.TemporaryDirectory() as directory,
        gateway_process(Path(directory), *flags, objects=downloads(given.downloads)) as gateway,
    ):
        before = gateway.memory()
        with unread_streams(gateway, given.streams):
            print(f"{before:.0f} MiB without streams, at most {gateway.memory('VmHWM'):.0f} MiB with them")  # noqa: T201 -- a command


if __name__ == "__main__":
    main()
