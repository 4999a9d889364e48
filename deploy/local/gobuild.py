"""Builds a Go program once, into a cache directory, and shows the progress.

Decides how a program is built: static, with trimmed paths, only from the modules in `go.sum`, and never by two
processes at one time. The callers (`binaries`, `helm`) decide which program is built, and into which directory.
"""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

QUIET_INTERVAL = 10.0  # seconds between two lines if the output is not a terminal


class BuildFailed(Exception):
    """A program could not be built. The message says why, or what to do."""


class GoMissing(BuildFailed):
    """There is no `go` in PATH."""


@dataclass(frozen=True, slots=True)
class Program:
    """A Go main package, the directory of the `go.mod` that pins its version, and its linker flags."""

    name: str
    package: str
    module: Path
    ldflags: str = "-s -w"


def build(program: Program, directory: Path, out: TextIO) -> Path:
    """Builds `program` into `directory` if it is not there yet, with progress on `out`, and returns its path.

    Several processes may call it at one time: one builds, the others wait. The file appears only when it is complete.
    Raises BuildFailed.
    """
    target = directory / program.name
    if target.exists():
        return target
    if not shutil.which("go"):
        raise GoMissing(f"{program.name} is built from source, and there is no `go` in PATH: install Go 1.26 or newer")
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory / f".{program.name}.lock", f"another process is building {program.name}: waiting", out):
        if not target.exists():
            _build(program, target, out)
    return target


def required(module: Path, name: str) -> str:
    """The version of the module `name` that `go.mod` in the directory `module` requires."""
    found = re.search(rf"^\s*{re.escape(name)} (v\S+)", (module / "go.mod").read_text(), re.MULTILINE)
    assert found
    return found[1]


def _build(program: Program, target: Path, out: TextIO) -> None:
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    command = ["go", "build", "-v", "-mod=readonly", "-trimpath", f"-ldflags={program.ldflags}"]
    progress = _Progress(program.name, _packages(program, out), out)
    try:
        _run([*command, "-o", str(unfinished), program.package], program, progress)
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)
    progress.finish()


def _packages(program: Program, out: TextIO) -> int:
    """The most packages that the build compiles. Listing them downloads their modules."""
    command = ["go", "list", "-mod=readonly", "-deps", program.package]
    return len(_run(command, program, _Progress(f"{program.name} (modules)", None, out)).splitlines())


def _run(command: list[str], program: Program, progress: "_Progress") -> str:
    """Runs `go` and returns its standard output. Each line on standard error is one step. Raises BuildFailed."""
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": ""}  # GOFLAGS of the user may break this build
    last: list[str] = []
    with (
        tempfile.TemporaryFile("w+") as output,  # a pipe would fill up while standard error is being read
        subprocess.Popen(
            command, cwd=program.module, env=environment, text=True, stdout=output, stderr=subprocess.PIPE
        ) as go,
    ):
        assert go.stderr is not None
        for line in go.stderr:
            last = [*last[-20:], line]
            progress.step()
        if go.wait():
            raise BuildFailed(f"{' '.join(command)} in {program.module} failed:\n{''.join(last)}")
        output.seek(0)
        return output.read()


class _Progress:
    """Shows a count of steps on `out`: on a terminal one line that is overwritten, else a line every QUIET_INTERVAL."""

    def __init__(self, what: str, total: int | None, out: TextIO) -> None:
        self._what, self._total, self._out = what, total, out
        self._done = 0
        self._started = self._last_written = time.monotonic()

    def step(self) -> None:
        self._done += 1
        interval = 0.2 if self._out.isatty() else QUIET_INTERVAL
        if time.monotonic() - self._last_written >= interval:
            self._last_written = time.monotonic()
            of = f" of {self._total} packages" if self._total else " downloaded"
            self._write(f"building {self._what}: {self._done}{of}, {self._elapsed()}", last=False)

    def finish(self) -> None:
        self._write(f"built {self._what} in {self._elapsed()}", last=True)

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"

    def _write(self, line: str, *, last: bool) -> None:
        terminal = self._out.isatty()
        end = "" if terminal and not last else "\n"
        print(f"\r\x1b[K{line}" if terminal else line, end=end, file=self._out, flush=True)


@contextmanager
def locked(lock: Path, waiting: str, out: TextIO) -> Iterator[None]:
    """Holds an exclusive lock on the file `lock`. Prints `waiting` if another process has it."""
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(waiting, file=out, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
