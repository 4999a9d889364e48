"""Runs a command and measures its wall-clock time, CPU time and peak memory."""

import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Cost:
    """`wall` is in seconds, `cpu` user and system time in seconds, `peak` the peak of resident memory in bytes."""

    wall: float
    cpu: float
    peak: int

    def __add__(self, then: "Cost") -> "Cost":
        """The cost of both commands, one after the other."""
        return Cost(self.wall + then.wall, self.cpu + then.cpu, max(self.peak, then.peak))


def median_cost(costs: Sequence[Cost]) -> Cost:
    """The median of each figure by itself."""
    return Cost(
        median(cost.wall for cost in costs),
        median(cost.cpu for cost in costs),
        int(median(cost.peak for cost in costs)),
    )


def run(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Raises CalledProcessError with the end of standard error if the command fails."""
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment
    ) as process:
        complaints, peak = _watch(process)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command), stderr=complaints[-2000:])
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak)


def _watch(process: "subprocess.Popen[bytes]") -> tuple[bytes, int]:
    """Standard error and peak memory of `process`, until it closes standard error.

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


def peak_bytes(pid: int) -> int:
    """The peak of a running process's resident memory; 0 if it has ended (proc(5), VmHWM)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def cpu_seconds(pid: int) -> float:
    """User and system time of a running process so far (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
