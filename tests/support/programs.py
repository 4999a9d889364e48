"""The programs of this project as real processes, and what tests need to know about processes and ports.

Called by tests, stands and benchmarks. The output of a program goes to a file, so that a failing test can show it.
"""

import contextlib
import functools
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

_PORTS = range(20_000, 32_768)  # Linux chooses from 32768 on (ip_local_port_range), macOS from 49152
_MOST_PROCESSES = 16  # of one run of pytest-xdist


class Program:
    """A process `model-provisioner <arguments>`, or the `module` that replaces it.

    `log` is the file that its output is appended to; `environment` is added to that of the tests. With PROGRAMS_PYTHON,
    its interpreter is that one: `make image-environment` makes one that has what the image has.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        environment: dict[str, str] | None = None,
        module: str = "model_provisioner.cli",
    ) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [os.environ.get("PROGRAMS_PYTHON", sys.executable), "-m", module, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | (environment or {}),
            )

    def children(self) -> list[int]:
        """The process ids of the processes below it (Linux)."""
        return descendants(self.process.pid)

    def child(self, name: str) -> int:
        """The process id of the only process below it that has given itself this name, such as `model-resolver`."""
        found = [pid for pid in self.children() if Path(f"/proc/{pid}/comm").read_text().strip() == name]
        assert len(found) == 1, (name, found)
        return found[0]

    def kill(self) -> None:
        """Ends it with SIGKILL, as a crash."""
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 30) -> int:
        """Ends it with SIGTERM, as Kubernetes does. Returns the exit code. Raises TimeoutExpired after `seconds`."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def output(self) -> str:
        return self.log.read_text(errors="replace")


def descendants(pid: int) -> list[int]:
    """The process ids of the processes below `pid`, of all generations (Linux); none if it has ended."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [found for child in map(int, text.split()) for found in (child, *descendants(child))]


def runs(pid: int) -> bool:
    """Whether the process runs (Linux). One that has ended does not, even if its parent has not waited for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stops a process with SIGSTOP while the block runs. It may be killed in the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def running(arguments: Sequence[str], log: Path) -> Iterator[Program]:
    """The program runs while the block runs; then it is stopped."""
    program = Program(arguments, log)
    try:
        yield program
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.stop(15)
        if program.process.poll() is None:
            program.kill()


def eventually(probe: Callable[[], T | None], what: str, seconds: float = 60) -> T:
    """The first true result of `probe`. Raises AssertionError with `what` after `seconds`.

    The default is generous, so that only a real failure takes so long.
    """
    deadline = time.monotonic() + seconds
    while True:
        is_last = time.monotonic() >= deadline  # the machine may have stood still since the probe before
        answer = probe()
        if answer:
            return answer
        if is_last:
            raise AssertionError(f"not within {seconds}s: {what}")
        time.sleep(0.05)


def free_port() -> int:
    """A port of loopback on which nothing listens now.

    Between this call and the start of the program that listens there, the kernel gives the port to no other socket: it
    is below the ports that it chooses for sockets without one. No other process of pytest-xdist gets it either, and
    this one gets it again only after all its others.
    """
    for port in itertools.islice(_own_ports(), len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("all ports are in use")


@functools.cache
def _own_ports() -> Iterator[int]:
    """The ports of this process, over and over. It begins anywhere, as there may be another run of tests."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _MOST_PROCESSES
    own = _PORTS[number::_MOST_PROCESSES]
    first = random.randrange(len(own))
    return itertools.cycle([*own[first:], *own[:first]])


def is_listening(port: int) -> bool:
    """Whether a process accepts connections at this port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def fetcher(operator: Program) -> int:
    """The process id of a worker that fetches: a process below the operator with a part open."""

    def probe() -> int | None:
        return next((pid for pid in operator.children() if holds_a_part(pid)), None)

    return eventually(probe, "a worker has a part open")


def holds_a_part(pid: int) -> bool:
    return any(file.endswith(".part") for file in open_files(pid))


def open_files(pid: int) -> list[str]:
    """The paths that the process has open (Linux); empty if it has ended."""
    try:
        return [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []
