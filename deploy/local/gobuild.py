"""Build a Go program once, into a place that is kept, with progress that a person can see.

Called for every program that this project takes from Go modules. It decides how such a build is made (static, paths
trimmed, only from what the module's `go.sum` names) and that two processes never make the same one at once. Which
programs and where to: the caller.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

QUIET_INTERVAL = 10.0  # seconds between two lines where nobody looks at a terminal


class BuildFailed(Exception):
    """A program could not be built; the message says why, or what to do."""


class GoMissing(BuildFailed):
    """There is no Go to build with."""


@dataclass(frozen=True, slots=True)
class Program:
    """A Go main package, the directory of the `go.mod` that pins it, and the linker flags it is built with."""

    name: str
    package: str
    module: Path
    ldflags: str = "-s -w"


def build(program: Program, directory: Path, out: TextIO) -> Path:
    """The path of `program` in `directory`, built if it is not there yet, with progress on `out`. Raises BuildFailed.

    Safe beside other processes that want the same: one builds, the others wait, and the file appears whole.
    """
    target = directory / program.name
    if target.exists():
        return target
    if not shutil.which("go"):
        raise GoMissing(f"{program.name} is built from source, and there is no `go` in PATH: install Go 1.26 or newer")
    directory.mkdir(parents=True, exist_ok=True)
    with _alone(directory / f".{program.name}.lock", f"another process is building {program.name}: waiting", out):
        if not target.exists():
            _build(program, target, out)
    return target


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
    """How many packages the build compiles at most; listing them downloads their modules."""
    command = ["go", "list", "-mod=readonly", "-deps", program.package]
    return len(_run(command, program, _Progress(f"{program.name} (modules)", None, out)).splitlines())


def _run(command: list[str], program: Program, progress: "_Progress") -> str:
    """Runs `go`, whose every line on standard error is a step; returns its standard output. Raises BuildFailed."""
    environment = os.environ | {"CGO_ENABLED": "0", "GOFLAGS": ""}  # a person's own flags may not suit this build
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
    """Counts steps aloud: one line that is written over on a terminal, else a line now and then."""

    def __init__(self, what: str, total: int | None, out: TextIO) -> None:
        self._what, self._total, self._out = what, total, out
        self._done = 0
        self._begun = self._told = time.monotonic()

    def step(self) -> None:
        self._done += 1
        interval = 0.2 if self._out.isatty() else QUIET_INTERVAL
        if time.monotonic() - self._told >= interval:
            self._told = time.monotonic()
            of = f" of {self._total} packages" if self._total else " downloaded"
            self._write(f"building {self._what}: {self._done}{of}, {self._elapsed()}", last=False)

    def finish(self) -> None:
        self._write(f"built {self._what} in {self._elapsed()}", last=True)

    def _elapsed(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._begun), 60)
        return f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"

    def _write(self, line: str, *, last: bool) -> None:
        terminal = self._out.isatty()
        end = "" if terminal and not last else "\n"
        print(f"\r\x1b[K{line}" if terminal else line, end=end, file=self._out, flush=True)


@contextmanager
def _alone(lock: Path, waiting: str, out: TextIO) -> Iterator[None]:
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(waiting, file=out, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
