"""A hub with a long round trip: two network namespaces with a link of 80 ms between them, removed when the block ends.

Needs root, iproute2 and /dev/net/tun. `far_link` makes the delay, because not every kernel has netem.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.transfer import hub
from benchmarks.transfer.model import Model
from deploy.local.processes import start

ROUND_TRIP_SECONDS = 0.08
LOSS = 0.001
_SERVER, _CLIENT = "10.218.0.1", "10.218.0.2"
_QUEUE_PACKETS = 10_000
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _End:
    namespace: str
    device: str
    address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.namespace)


def missing() -> str | None:
    """The reason why this can't run here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun"
    return None


@contextlib.contextmanager
def running(model: Model, scratch: Path, *, seed: int = 1) -> Iterator[hub.Hub]:
    """A far hub that runs within the block. `seed` decides which packets are lost, counted from the start."""
    server = _End(f"bench-hub-{os.getpid()}", f"benchhub{os.getpid()}", _SERVER)
    client = _End(f"bench-client-{os.getpid()}", f"benchcli{os.getpid()}", _CLIENT)
    with (
        _line(server, client, scratch, seed),
        hub.running(model, scratch, host=_SERVER, server_prefix=server.prefix, command_prefix=client.prefix) as far_hub,
    ):
        yield far_hub


@contextlib.contextmanager
def _line(one: _End, other: _End, scratch: Path, seed: int) -> Iterator[None]:
    log = scratch / "line.log"
    program = [sys.executable, "-m", "benchmarks.transfer.far_link", one.device, other.device]
    line = start("the line", [*program, str(ROUND_TRIP_SECONDS / 2), str(LOSS), str(seed)], log)
    with contextlib.ExitStack() as undo:
        undo.callback(line.stop)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while "ready" not in log.read_text():
            line.check()
            if time.monotonic() > deadline:
                raise TimeoutError("the line does not start")
            time.sleep(0.02)
        for end, peer in ((one, other), (other, one)):
            _ip("netns", "add", end.namespace)
            undo.callback(_ip, "netns", "delete", end.namespace)
            _connect(end, peer)
        yield


def _connect(end: _End, peer: _End) -> None:
    _ip("link", "set", end.device, "netns", end.namespace)
    inside = ("-n", end.namespace)
    _ip(*inside, "address", "add", end.address, "peer", peer.address, "dev", end.device)
    _ip(*inside, "link", "set", end.device, "txqueuelen", str(_QUEUE_PACKETS), "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
