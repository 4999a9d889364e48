"""Starts and controls a `memory_volume`: a mount whose calls fail on command, and which simulates a loss of power.

Called by the fixtures of tests/faults. What the file system does is decided in `memory_volume`.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import tools

_MOUNT_SECONDS = 20


class FaultyVolume:
    """`root` is the mount point, `process` the `memory_volume`. Calls are counted from the last command."""

    def __init__(self, root: Path, process: "subprocess.Popen[str]") -> None:
        self.root = root
        self._process = process

    def fail(self, error: str, first: int = 1, last: int = 10**9, calls: tuple[str, ...] = ()) -> None:
        """Calls number `first` to `last` (from 1) fail with `error`, the name of an errno.

        `calls` are the calls that count; empty means all that change the file system.
        """
        self._order(f"fail {first} {last} {error} {' '.join(calls)}")

    def heal(self) -> int:
        """Ends the faults; returns how many calls were counted since the last command."""
        return int(self._order("heal"))

    def power_cycle(self) -> None:
        """Drops everything that was not made durable. No file may be open."""
        self._order("power-cycle")

    def limit_names(self, length: int) -> None:
        """A name with more than `length` characters ends with ENAMETOOLONG from now on."""
        self._order(f"longest-name {length}")

    def answer(self, **fields: int) -> None:
        """The fields of struct statvfs (`f_…`) and of struct stat of every file (`st_…`) have these values from now on.

        Fields that are not named have their true values again.
        """
        for call, prefix in (("statfs", "f_"), ("stat", "st_")):
            named = (f"{name}={value}" for name, value in fields.items() if name.startswith(prefix))
            self._order(" ".join([call, *named]))

    def show(self, **fields: int) -> None:
        """Every file and directory has this `mode` and `owner` from now on, whatever chmod and chown say."""
        self._order(" ".join(["show", *(f"{name}={value}" for name, value in fields.items())]))

    def format(self) -> None:
        """Removes all files and directories."""
        self._order("format")

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Answers no call while the block runs, as a file server that is down."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _order(self, line: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def faulty_volume(directory: Path, capacity: int = 2**30) -> Iterator[FaultyVolume]:
    """A volume of `capacity` bytes, mounted at `directory`, which is created. Skips the test without root or FUSE."""
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("mounting a FUSE file system needs root and /dev/fuse")
    tools.require("fuse")
    directory.mkdir()
    command = [sys.executable, "-m", "tests.support.memory_volume", str(directory), str(capacity)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            deadline = time.monotonic() + _MOUNT_SECONDS
            while not os.path.ismount(directory):
                assert process.poll() is None, "the file system ended"
                assert time.monotonic() < deadline, "the file system was not mounted"
                time.sleep(0.01)
            yield FaultyVolume(directory, process)
        finally:
            subprocess.run(["umount", "--lazy", str(directory)], check=False)
            process.kill()
