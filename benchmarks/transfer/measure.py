"""Runs a command and measures what it costs, with all processes that it starts.

Called by `programs` for each command, and by `scenes` to tell how quiet the machine was meanwhile. Knows no program.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import quiet
from benchmarks.processes import children, orphans_adopted, peak_bytes
from benchmarks.quiet import Noise

_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Cost:
    """`wall` is in seconds, `cpu` user and system time in seconds, `peak` the peak of resident memory in bytes.

    `cpu` and `peak` are sums over the process and its descendants.
    """

    wall: float
    cpu: float
    peak: int

    def __add__(self, then: "Cost") -> "Cost":
        """The cost of both commands, one after the other."""
        return Cost(self.wall + then.wall, self.cpu + then.cpu, max(self.peak, then.peak))


@dataclass(frozen=True, slots=True)
class Run:
    """What one program cost in one round, and how noisy the machine was meanwhile."""

    cost: Cost
    noise: Noise


def observed(work: Callable[[], Cost]) -> Run:
    before = quiet.reading()
    cost = work()
    return Run(cost, quiet.between(before, quiet.reading()))


def run(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """The cost until the process has ended. What it leaves behind is killed, and what that has used counts too.

    Raises CalledProcessError with the end of standard error if the command fails. This process must start no other one
    meanwhile.
    """
    with orphans_adopted():
        others = children(os.getpid())
        began = time.perf_counter()
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
        ) as process:
            complaints, peak = _watch(process)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        cpu = usage.ru_utime + usage.ru_stime + _end_orphans(others)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command), stderr=complaints[-2000:])
    return Cost(wall, cpu, peak)


def _watch(process: "subprocess.Popen[bytes]") -> tuple[bytes, int]:
    """Standard error and peak memory of `process`, until it and its descendants have closed standard error.

    Polls the memory: the value of wait4 starts with the memory of the parent process.
    """
    assert process.stderr
    complaints, peak = bytearray(), 0
    while True:
        peak = max(peak, peak_bytes(process.pid))
        if select.select([process.stderr], [], [], _LOOK_SECONDS)[0]:
            piece = os.read(process.stderr.fileno(), 65536)
            if not piece:
                return bytes(complaints), peak
            complaints += piece


def _end_orphans(others: set[int]) -> float:
    """Kills our children but `others`, and theirs. Returns the user and system time of all in seconds."""
    used = 0.0
    while orphans := children(os.getpid()) - others:
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
            _, _, usage = os.wait4(pid, 0)
            used += usage.ru_utime + usage.ru_stime
    return used
