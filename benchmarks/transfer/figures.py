"""The ratios of the benchmark, their bounds, and the tables that show them. Pure: costs in, Markdown out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.transfer.measure import Cost, median_cost
from benchmarks.transfer.programs import ARIA2C, CURL, CURL_AND_OPENSSL, HF, OURS, OURS_IN_ONE
from benchmarks.transfer.scenes import MIB, WORKER, Costs, Peak, Resumed

_UNITS = {"": "{:.2f}", "MiB": "{:.1f} MiB"}


@dataclass(frozen=True, slots=True)
class Figure:
    """`must` and `stretch` are upper bounds of `value`, lower bounds if `at_least`; None: the figure has no bound."""

    name: str
    value: float
    must: float | None = None
    stretch: float | None = None
    at_least: bool = False
    unit: str = ""

    @property
    def verdict(self) -> str:
        if self.must is None or self.stretch is None:
            return ""
        if self._within(self.stretch):
            return "holds, stretch too"
        return "**missed**" if self.missed else "holds"

    @property
    def missed(self) -> bool:
        return self.must is not None and not self._within(self.must)

    def _within(self, bound: float) -> bool:
        return self.value >= bound if self.at_least else self.value <= bound

    @property
    def row(self) -> tuple[str, ...]:
        return (self.name, self._text(self.value), self._bound(self.must), self._bound(self.stretch), self.verdict)

    def _bound(self, bound: float | None) -> str:
        return "" if bound is None else f"{'≥' if self.at_least else '≤'} {bound:g} {self.unit}".rstrip()

    def _text(self, value: float) -> str:
        return _UNITS[self.unit].format(value)


def of_near(costs: Costs) -> list[Figure]:
    ours, curl, both = (_median(costs, name) for name in (OURS.name, CURL.name, CURL_AND_OPENSSL.name))
    worker = _median(costs, WORKER)
    return [
        Figure("wall ÷ (curl, then openssl dgst)", ours.wall / both.wall, 1.0, 0.7),
        Figure("wall ÷ curl, which verifies nothing", ours.wall / curl.wall, 1.75, 1.2),
        Figure("wall ÷ aria2c -x8 --checksum", ours.wall / _median(costs, ARIA2C.name).wall, 0.8, 0.5),
        Figure("wall ÷ hf download", ours.wall / _median(costs, HF.name).wall, 0.8, 0.5),
        Figure("CPU seconds ÷ (curl, then openssl dgst)", ours.cpu / both.cpu, 1.3, 1.1),
        Figure("warm worker: wall ÷ (curl, then openssl dgst)", worker.wall / both.wall),
        Figure("warm worker: wall ÷ curl", worker.wall / curl.wall),
        Figure("warm worker: CPU seconds ÷ (curl, then openssl dgst)", worker.cpu / both.cpu),
    ]


def of_memory(peaks: Sequence[Peak]) -> list[Figure]:
    highest = max(peak.peak for peak in peaks)
    return [Figure("peak memory of a worker, any size, 1 to 16 connections", highest / MIB, 64, 48, unit="MiB")]


def of_limited(costs: Costs) -> list[Figure]:
    faster = _median(costs, OURS_IN_ONE.name).wall / _median(costs, OURS.name).wall
    return [Figure("hub that gives each connection 1/8 of the line: 8 connections ÷ 1", faster, 7, 7.8, at_least=True)]


def of_killed(results: Sequence[Resumed]) -> list[Figure]:
    twice = max(result.twice for result in results)
    again = max(result.journalled_again for result in results)
    return [
        Figure("sent twice after kill -9, the worst", twice / MIB, 64, 16, unit="MiB"),
        Figure("… of what the journal held", again / MIB, 0, 0, unit="MiB"),
    ]


def of_far(costs: Costs) -> list[Figure]:
    ours = _median(costs, OURS.name)
    return [
        Figure("far path: wall ÷ curl", ours.wall / _median(costs, CURL.name).wall),
        Figure("far path: wall ÷ aria2c -x8 --checksum", ours.wall / _median(costs, ARIA2C.name).wall),
    ]


def figures_table(figures: Iterable[Figure]) -> str:
    return table(("figure", "measured", "must hold", "stretch", ""), (figure.row for figure in figures))


def costs_table(costs: Costs) -> str:
    """Medians, and the wall-clock time of every round, which shows the noise."""
    heads = ("program", "wall, s", "CPU, s", "peak memory, MiB", "wall of each round, s")
    return table(heads, (_costs_row(name, rounds) for name, rounds in costs.items()))


def peaks_table(peaks: Iterable[Peak]) -> str:
    rows = ((f"{p.size / MIB:.0f}", str(p.connections), f"{p.peak / MIB:.1f}") for p in peaks)
    return table(("file, MiB", "connections", "peak memory, MiB"), rows)


def killed_table(results: Iterable[Resumed]) -> str:
    rows = ([f"{size / MIB:.1f}" for size in (one.at, one.twice, one.journalled_again)] for one in results)
    return table(("killed at, MiB", "sent twice, MiB", "of it journalled, MiB"), rows)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (heads, ["---"] * len(heads), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _costs_row(name: str, rounds: Sequence[Cost]) -> tuple[str, ...]:
    cost = median_cost(rounds)
    walls = " · ".join(f"{one.wall:.2f}" for one in rounds)
    return (name, f"{cost.wall:.2f}", f"{cost.cpu:.2f}", f"{cost.peak / MIB:.0f}", walls)


def _median(costs: Costs, name: str) -> Cost:
    return median_cost(costs[name])
