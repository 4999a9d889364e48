"""What a process and its descendants have used, from /proc (Linux, with CONFIG_PROC_CHILDREN as distributions set it).

Called by `quiet` and by the measurement of downloads. A program must not look cheaper because it works in children, so
each figure is of all of them. Knows nothing about the programs.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37  # linux/prctl.h
_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def orphans_adopted() -> Iterator[None]:
    """Descendants whose parent ends become children of this process: otherwise what they used would be lost.

    Only while the block runs: this process waits for no orphan afterwards, and each would stay a zombie.
    """
    prctl, before = ctypes.CDLL(None).prctl, ctypes.c_int(0)
    prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, before.value)


def children(pid: int) -> set[int]:
    """The children that any thread of a process has started and not yet waited for; empty if it has ended."""
    found: set[int] = set()
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        found.update(map(int, _read(file).split()))
    return found


def family(pid: int) -> list[int]:
    """The process and all its living descendants."""
    return [pid, *(each for child in sorted(children(pid)) for each in family(child))]


def cpu_seconds(pid: int) -> float:
    """User and system time of the family so far, and of the children that it has waited for (proc(5), stat 14-17)."""
    return sum(map(_ticks, family(pid))) / _TICKS


def peak_bytes(pid: int) -> int:
    """The sum of the peaks of the family's resident memory (proc(5), VmHWM): an upper bound of the peak of the sum.

    Pages that are shared between processes count for each. 0 if the process has ended.
    """
    return sum(map(_high_water, family(pid)))


def proportional_mebibytes(pid: int) -> float:
    """The memory of one process in MiB, shared pages by their share (proc(5), smaps_rollup, Pss)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def _ticks(pid: int) -> int:
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))


def _high_water(pid: int) -> int:
    lines = _read(Path(f"/proc/{pid}/status")).splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def _read(file: Path) -> str:
    """Empty if the process has ended: the file is gone, or a read fails with ESRCH."""
    try:
        return file.read_text()
    except OSError:
        return ""
