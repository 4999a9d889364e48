"""Whether the machine was quiet while something was measured, and the sentence that says so.

Called by all benchmarks. What this process and its descendants use is ours, the hub and the control plane included;
the rest of the machine's busy time is that of other processes, of other containers too.
"""

import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import cpu_seconds, orphans_adopted

LIMIT = 0.1
"""The share of one core from which others disturb. The kernel samples busy time, so less can't be told from nothing."""

WINDOW_SECONDS = 5.0

_TICKS = os.sysconf("SC_CLK_TCK")
_PRESSURE = Path("/proc/pressure/cpu")


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds: `when` of the monotonic clock, the others of all cores since the machine started.

    `busy` is user and system time of all processes, `ours` the part of this one and its descendants. `stolen` was
    taken by the hypervisor. During `waiting` at least one process waited for a core; None if the kernel does not tell.
    """

    when: float
    busy: float
    ours: float
    stolen: float
    waiting: float | None


@dataclass(frozen=True, slots=True)
class Noise:
    """Shares of one core: used by `others`, `stolen` by the hypervisor. `waiting`, see Reading, is one of the time."""

    others: float
    stolen: float
    waiting: float | None

    @property
    def disturbed(self) -> bool:
        return self.others + self.stolen > LIMIT


def reading() -> Reading:
    """Interrupts are left out of `busy`: those of a benchmark over loopback are its own."""
    ours = cpu_seconds(os.getpid())
    user, nice, system, _idle, _iowait, _irq, _softirq, stolen = map(int, _first_line("/proc/stat").split()[1:9])
    return Reading(time.monotonic(), (user + nice + system) / _TICKS, ours, stolen / _TICKS, _waiting())


def between(before: Reading, after: Reading) -> Noise:
    """The noise from `before` to `after`, which is later."""
    seconds = after.when - before.when
    others = after.busy - before.busy - (after.ours - before.ours)
    waiting = None
    if before.waiting is not None and after.waiting is not None:
        waiting = (after.waiting - before.waiting) / seconds
    return Noise(max(0.0, others) / seconds, (after.stolen - before.stolen) / seconds, waiting)


def load() -> float:
    """The average number of runnable processes over the last minute."""
    return os.getloadavg()[0]


@contextmanager
def watched() -> Iterator[list[Noise]]:
    """The noise of each window of WINDOW_SECONDS while the block runs; at least one when it has ended."""
    noises: list[Noise] = []
    ended = threading.Event()

    def watch() -> None:
        before = reading()
        while not noises or not ended.is_set():
            ended.wait(WINDOW_SECONDS)
            after = reading()
            noises.append(between(before, after))
            before = after

    watcher = threading.Thread(target=watch)
    with orphans_adopted():
        watcher.start()
        try:
            yield noises
        finally:
            ended.set()
            watcher.join()


def sentence(load_before: float, noises: Sequence[Noise], each: str = "run") -> str:
    """For a report: on the machine while it was measured. `noises`, not empty, has one for `each` part of that time."""
    disturbed = sum(noise.disturbed for noise in noises)
    verdict = f"was **not quiet** in {disturbed} of {len(noises)} {each}s" if disturbed else "was quiet"
    others, stolen = (_percent(max(shares)) for shares in zip(*((n.others, n.stolen) for n in noises), strict=True))
    waits = [noise.waiting for noise in noises if noise.waiting is not None]
    longest = _percent(max(waits, default=0.0))
    waiting = f"\nProcesses, ours too, waited for a core at most {longest} of a {each}." if waits else ""
    return (
        f"The machine {verdict}: the load average was {load_before:.1f} at the beginning;\n"
        f"in a {each}, other processes used at most {others} of a core, and the hypervisor took at most {stolen}.\n"
        f"A {each} is disturbed if these are more than {_percent(LIMIT)} together.{waiting}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _first_line(path: str) -> str:
    with Path(path).open() as file:
        return file.readline()


def _waiting() -> float | None:
    """`some … total=` of pressure stall information, in microseconds."""
    try:
        return int(re.findall(r"total=(\d+)", _PRESSURE.read_text())[0]) / 1e6
    except (OSError, IndexError):
        return None
