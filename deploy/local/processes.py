"""Child processes that end when their parent ends, even if the parent is killed (on Linux).

Called by `cluster`, the demo, the tests and the benchmarks. Decides how a child process is started, checked and
stopped. Knows nothing about the programs.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1  # prctl(2)
PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL


class ProcessEnded(Exception):
    """A child process ended too early. The message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running program whose output goes to `log`."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """Raises ProcessEnded if the child has ended."""
        if self.process.poll() is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise ProcessEnded(f"{self.name} ended with {self.process.returncode}; the end of {self.log}:\n{tail}")

    def stop(self) -> None:
        """Sends SIGTERM, then SIGKILL after PATIENCE seconds. Returns when the child has ended. Safe to call again."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(name: str, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> Child:
    """Starts `command` and appends its output to `log`.

    The child has its own process group, so that Ctrl-C reaches only the parent, which stops its children in order. On
    Linux the kernel kills the child when the thread that started it ends, so the caller needs a long-lived thread.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            process_group=0,
            preexec_fn=_dies_with_parent(),  # noqa: PLW1509 - it makes two system calls and takes no lock
        )
    return Child(name, log, process)


def _dies_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask_for_signal() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before the call
            os._exit(1)

    return ask_for_signal
