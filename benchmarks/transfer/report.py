"""The page that `make bench` writes: figures, the machine, and the costs of each scene. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from benchmarks import quiet
from benchmarks.quiet import Noise
from benchmarks.transfer import figures
from benchmarks.transfer.figures import FEWEST, Figure
from benchmarks.transfer.measure import Run
from benchmarks.transfer.model import Model
from benchmarks.transfer.scenes import MIB, Costs, Peak, Resumed
from benchmarks.transfer.spread import STALLED, spread
from model_provisioner.domain.quantity import format_bytes

JUDGED_SIZE = 2048 * MIB
"""The limits of the loopback scene are for this size and above: start-up has a larger share of a smaller one."""

_TEXT = """# What a download costs

Written by `make bench`. Every program fetches the same file of {size} over TLS from the same nginx on the same machine
into memory, in turn, round after round.

A figure is the median of the ratios of {rounds} rounds, with the quartiles beside it. It holds if the quartile on the
limit's side is within the limit: three rounds out of four. A limit on the worst holds if every round is within it; the
lowest and the highest value are beside it. A rival's round that took more than {stalled:g} times its own median is left
out: aria2c 1.36 at times waits for its timeout of 60 s, because a connection stands still after its TLS handshake. All
of ours count. With fewer than {fewest} rounds no ratio is judged.

{figures}

Measured on {machine}

{quiet}

{left_out}

Wall-clock time is from the start of the process to its end, CPU time is user and system, with all processes that it
started. Peak memory is the sum of the high-water marks of resident memory (VmHWM) of these, seen every 20 ms. The file
is pseudo-random behind a valid header, in the page cache of the server, and written to tmpfs. Of all these programs
`aria2c --checksum`, `openssl dgst` and ours verify the digest. In the tables of the scenes quartiles are beside the
medians; a star marks the wall time of a disturbed run, brackets one that is left out, and a dash a round in which a
slow program does not take part: it takes every third.
"""
_WARM = (
    "\nThe warm worker is what the operator runs: it starts no interpreter, and gets a plan that was resolved before.\n"
)


@dataclass(frozen=True, slots=True)
class Section:
    """One scene's part of the page. `left_out` has a sentence for each round that does not count."""

    title: str
    text: str
    figures: list[Figure] = field(default_factory=list)
    noises: list[Noise] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """`load` is the load average before the first scene."""

    machine: str
    load: float
    model: Model
    rounds: int
    sections: Sequence[Section]

    @property
    def figures(self) -> list[Figure]:
        return [figure for section in self.sections for figure in section.figures]

    @property
    def holds(self) -> bool:
        return all(figure.holds for figure in self.figures)

    @property
    def text(self) -> str:
        noises = [noise for section in self.sections for noise in section.noises]
        left_out = [line for section in self.sections for line in section.left_out]
        head = _TEXT.format(
            size=format_bytes(self.model.size),
            rounds=self.rounds,
            stalled=STALLED,
            fewest=FEWEST,
            figures=figures_table(self.figures),
            machine=self.machine,
            quiet=quiet.sentence(self.load, noises) if noises else "No scene was measured in which noise matters.",
            left_out="\n".join(left_out) or "No round is left out.",
        )
        return "\n".join([head, *(f"## {section.title}\n\n{section.text}" for section in self.sections)])


def near(costs: Costs, size: int) -> Section:
    """`size` is that of the file in bytes."""
    found = figures.of_near(costs)
    judged = found if size >= JUDGED_SIZE else [replace(figure, must=None, stretch=None) for figure in found]
    return _compared("Loopback", "", costs, judged, _WARM)


def limited(costs: Costs) -> Section:
    text = "The same file; the kernel paces every connection to 1/64 of the file a second.\n\n"
    return _compared("A hub that limits each connection", text, costs, figures.of_limited(costs))


def far(costs: Costs) -> Section:
    text = "64 MiB, 80 ms of round-trip time, one packet in a thousand lost in each direction, CUBIC at the server.\n\n"
    return _compared("A far path", text, costs, figures.of_far(costs))


def small(costs: Costs) -> Section:
    return _compared("A small model", "1 MiB: what a start costs.\n\n", costs, figures.of_small(costs))


def memory(peaks: Sequence[Peak]) -> Section:
    rows = ((f"{p.size / MIB:.0f}", str(p.connections), *_with_quartiles([x / MIB for x in p.peaks], 1)) for p in peaks)
    text = (
        "A fresh worker for each value. One connection runs as fast as it goes; with 8 and 16 each gets 16 MiB/s, so\n"
        "that all are used.\n\n"
    )
    heads = ("file, MiB", "connections", "peak memory, MiB", "quartiles")
    return Section("Memory of a worker", f"{text}{table(heads, rows)}\n", figures.of_memory(peaks))


def killed(results: Sequence[Resumed]) -> Section:
    rows = ([f"{size / MIB:.1f}" for size in (one.at, one.twice, one.journalled_again)] for one in results)
    text = (
        "`kill -9` when the worker tells of so many bytes, then a second one. What is sent twice is counted at the\n"
        "hub, so it includes what the first one's kernel had taken and was not read.\n\n"
    )
    heads = ("killed at, MiB", "sent twice, MiB", "of it journalled, MiB")
    return Section("Killed and continued", f"{text}{table(heads, rows)}\n", figures.of_killed(results))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (heads, ["---"] * len(heads), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figures_table(found: Iterable[Figure]) -> str:
    return table(("figure", "measured", "spread", "must hold", "stretch", ""), (figure.row for figure in found))


def costs_table(costs: Costs) -> str:
    heads = ("program", "wall, s", "quartiles", "CPU, s", "quartiles", "peak memory, MiB", "wall of each round, s")
    return table(heads, (_costs_row(name, costs) for name in costs))


def _compared(title: str, text: str, costs: Costs, found: list[Figure], after: str = "") -> Section:
    noises = [run.noise for runs in costs.values() for run in runs if run]
    lines = [line for name in costs for line in _left_out(title, name, costs)]
    return Section(title, f"{text}{costs_table(costs)}\n{after}", found, noises, lines)


def _costs_row(name: str, costs: Costs) -> tuple[str, ...]:
    runs = [run for run in costs[name] if run]
    walls, cpus = [run.cost.wall for run in runs], [run.cost.cpu for run in runs]
    peak = spread([run.cost.peak for run in runs]).median / MIB
    return (
        name,
        *_with_quartiles(walls, 2),
        *_with_quartiles(cpus, 2),
        f"{peak:.0f}" if peak else "not seen",
        _walls(name, costs),
    )


def _walls(name: str, costs: Costs) -> str:
    out = figures.left_out(name, costs[name])
    return " · ".join(_wall(run, counts=position not in out) for position, run in enumerate(costs[name]))


def _wall(run: Run | None, *, counts: bool) -> str:
    if run is None:
        return "–"
    text = f"{run.cost.wall:.2f}{'*' if run.noise.disturbed else ''}"
    return text if counts else f"({text})"


def _with_quartiles(values: Sequence[float], digits: int) -> tuple[str, str]:
    found = spread(values)
    return (f"{found.median:.{digits}f}", f"{found.lower:.{digits}f} – {found.upper:.{digits}f}")


def _left_out(title: str, name: str, costs: Costs) -> list[str]:
    walls = [run.cost.wall if run else 0.0 for run in costs[name]]
    return [
        f"Left out: {name}, round {position + 1} of “{title}”, {walls[position]:.2f} s."
        for position in figures.left_out(name, costs[name])
    ]
