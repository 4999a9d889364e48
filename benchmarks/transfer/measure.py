"""What running a command costs: wall-clock time, CPU time and peak memory."""

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
    """`cpu` is user and system time in seconds; `peak` the high-water mark of resident memory in bytes."""

    wall: float
    cpu: float
    peak: int

    def __add__(self, then: "Cost") -> "Cost":
        """Of both, one after the other."""
        return Cost(self.wall + then.wall, self.cpu + then.cpu, max(self.peak, then.peak))


def median_cost(costs: Sequence[Cost]) -> Cost:
    """Each figure by itself."""
    return Cost(
        median(cost.wall for cost in costs),
        median(cost.cpu for cost in costs),
        int(median(cost.peak for cost in costs)),
    )


def run(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Raises CalledProcessError with what the command wrote to standard error, where it fails."""
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
    """Until it has closed standard error, as it does when it ends.

    Memory is looked at again and again, because what wait4 tells starts with that of the process that forked it.
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
    """The high-water mark of a running process's resident memory; 0 once it has ended (proc(5), VmHWM)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def cpu_seconds(pid: int) -> float:
    """What a running process has used so far, user and system (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
