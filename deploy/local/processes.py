"""Child processes that end with their parent, however it ends.

Called by `cluster` and by whatever runs the project's own programs beside one. Decides how a child is started, watched
and stopped; not what it does.
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
PATIENCE = 5.0  # seconds for a child to end by itself before it is killed


class ProcessEnded(Exception):
    """A child ended although it should run; the message ends with its last lines."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running program whose output goes to `log`."""

    name: str
    log: Path
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """Raises ProcessEnded where the child does not run any more."""
        if self.process.poll() is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise ProcessEnded(f"{self.name} ended with {self.process.returncode}; the end of {self.log}:\n{tail}")

    def stop(self) -> None:
        """Asks the child to end, kills it after PATIENCE seconds; returns when it is gone. Safe to call again."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(name: str, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> Child:
    """Starts `command`, with its output appended to `log`.

    It has a process group of its own, so that Ctrl-C reaches the parent alone, which then stops its children in order.
    On Linux the kernel kills it when the thread that started it ends, so start children from a thread that stays.
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
        if os.getppid() != parent:  # it ended before the kernel was told
            os._exit(1)

    return ask_for_signal
