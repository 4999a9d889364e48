"""The page that `make bench-sources` writes: figures, the machine, and what each source cost. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import quiet
from benchmarks.sources import figures
from benchmarks.sources.scenes import EXPIRY_SECONDS, Expired, Resumed
from benchmarks.transfer import report
from benchmarks.transfer.figures import Figure
from benchmarks.transfer.model import Model
from benchmarks.transfer.scenes import MIB, Costs
from model_provisioner.domain.quantity import format_bytes

_TEXT = """# What a download costs from each source

Written by `make bench-sources`. From each source `model-provisioner fetch` downloads and verifies the same file of
{size}, and so do `curl` and then `openssl dgst -sha256`, in turn, round after round, from the same server on the same
machine into memory. How a figure is judged is in [RESULTS.md](RESULTS.md): a ratio holds if three rounds of four are
within the limit, the worst if all are.

{servers}

{figures}

Measured on {machine}

{quiet}
"""
_FAST = """
## Time

`fetch` resolves the ref too. Wall-clock time is from the start of the process to its end, CPU time is user and system
with all processes that it started. A star marks the wall time of a disturbed run.

{table}
"""
_KILLED = """
## Killed and continued

A worker is killed by `kill -9` when it tells of half of the file, then a second one goes on; both had addresses from a
resolver, as from the operator. What is sent twice is counted at the server (before the registry and the bucket, at an
nginx in front), so it includes what the kernel of the worker had taken and was not read. Questions for one byte, with
which a source learns of a file, are left out. Peak memory is the resident memory (VmHWM) of the two workers, the higher
one.

{table}
"""
_EXPIRING = """
## Access that expires

The server sends 16 MiB/s over each of at most 8 connections, and refuses an address or a token {seconds} s after it was
given. A refused request sends no byte of the file.

{table}
"""


@dataclass(frozen=True, slots=True)
class Results:
    """`servers` says what serves each source, by its name. `costs` and `resumed` have what was measured.

    `load` is the load average before the first scene.
    """

    machine: str
    load: float
    model: Model
    servers: Mapping[str, str]
    costs: Costs
    resumed: Mapping[str, Sequence[Resumed]]
    expired: Sequence[Expired]

    @property
    def figures(self) -> list[Figure]:
        return figures.all_of([*self.servers], self.costs, self.resumed, self.expired)

    @property
    def holds(self) -> bool:
        return all(figure.holds for figure in self.figures)

    @property
    def text(self) -> str:
        noises = [run.noise for runs in self.costs.values() for run in runs if run]
        head = _TEXT.format(
            size=format_bytes(self.model.size),
            servers=report.table(("source", "served by"), self.servers.items()),
            figures=report.figures_table(self.figures),
            machine=self.machine,
            quiet=quiet.sentence(self.load, noises) if noises else "No scene was measured in which noise matters.",
        )
        return "".join((head, self._fast(), self._killed(), self._expiring()))

    def _fast(self) -> str:
        return _FAST.format(table=report.costs_table(self.costs)) if self.costs else ""

    def _killed(self) -> str:
        rows = [
            (name, " · ".join(f"{one.twice / MIB:.1f}" for one in rounds), f"{max(r.peak for r in rounds) / MIB:.1f}")
            for name, rounds in self.resumed.items()
        ]
        heads = ("source", "sent twice in each round, MiB", "peak memory, MiB")
        return _KILLED.format(table=report.table(heads, rows)) if rows else ""

    def _expiring(self) -> str:
        rows = [
            (one.what, f"{one.seconds:.1f}", str(one.asked), str(one.refused), str(one.twice), f"{one.peak / MIB:.1f}")
            for one in self.expired
        ]
        heads = ("what expires", "wall, s", "asked for", "requests refused", "bytes sent twice", "peak memory, MiB")
        return _EXPIRING.format(seconds=EXPIRY_SECONDS, table=report.table(heads, rows)) if rows else ""
