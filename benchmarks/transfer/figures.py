"""The figures of the benchmark, their limits, and whether they hold. Pure: costs in, figures out.

A figure holds if three quarters of its rounds are within the limit (the quartile on the limit's side, see `spread`):
one that is within it in one run out of three does not hold. With too few rounds it is not judged. A figure that limits
the worst holds if all are within, however many.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from benchmarks.transfer.measure import Cost, Run
from benchmarks.transfer.programs import ARIA2C, CURL, CURL_AND_OPENSSL, HF, OURS, OURS_IN_ONE
from benchmarks.transfer.scenes import MIB, WORKER, Costs, Peak, Resumed
from benchmarks.transfer.spread import filled, ratios, spread, stalled, without

_Take = Callable[[Cost], float]
_WALL: _Take = attrgetter("wall")
_CPU: _Take = attrgetter("cpu")
FEWEST = 4
"""Of fewer rounds the quartiles are hardly more than the extremes."""

_UNITS = {"": "{:.2f}", "s": "{:.2f} s", "MiB": "{:.1f} MiB"}


@dataclass(frozen=True, slots=True)
class Figure:
    """`values` has one for each round, in `unit`.

    `must` and `stretch` are upper limits, lower ones if `at_least`; None: the figure has no limit. If `worst`, the
    limits are for the highest value, and that is shown.
    """

    name: str
    values: tuple[float, ...]
    must: float | None = None
    stretch: float | None = None
    at_least: bool = False
    unit: str = ""
    worst: bool = False

    @property
    def verdict(self) -> str:
        if self.must is None or self.stretch is None:
            return ""
        if not self._is_judged:
            return "too few rounds"
        if self._within(self._judged, self.stretch):
            return "holds, stretch too"
        if self.holds:
            return "holds"
        within = sum(self._within(value, self.must) for value in self.values)
        return f"**holds in {within} of {len(self.values)} rounds**" if within else "**missed**"

    @property
    def holds(self) -> bool:
        """Whether no limit is missed: true for a figure that is not judged."""
        return self.must is None or not self._is_judged or self._within(self._judged, self.must)

    @property
    def row(self) -> tuple[str, ...]:
        """Name, value, spread, limits, verdict. The spread is the quartiles; the extremes if `worst`."""
        all_rounds = spread(self.values)
        value, low, high = all_rounds.median, all_rounds.lower, all_rounds.upper
        if self.worst:
            value, low, high = all_rounds.most, all_rounds.least, all_rounds.most
        between = f"{self._number(low)} – {self._number(high)}"
        limits = (self._limit(self.must), self._limit(self.stretch))
        return (self.name, _UNITS[self.unit].format(value), between, *limits, self.verdict)

    @property
    def _is_judged(self) -> bool:
        return self.worst or len(self.values) >= FEWEST

    @property
    def _judged(self) -> float:
        all_rounds = spread(self.values)
        if self.worst:
            return all_rounds.most
        return all_rounds.lower if self.at_least else all_rounds.upper

    def _within(self, value: float, limit: float) -> bool:
        return value >= limit if self.at_least else value <= limit

    def _limit(self, limit: float | None) -> str:
        return "" if limit is None else f"{'≥' if self.at_least else '≤'} {limit:g} {self.unit}".rstrip()

    def _number(self, value: float) -> str:
        return _UNITS[self.unit].format(value).split()[0]


def of_near(costs: Costs) -> list[Figure]:
    both, name = CURL_AND_OPENSSL.name, "(curl, then openssl dgst)"
    return [
        Figure(f"fetch: wall ÷ {name}", _ratios(costs, OURS.name, both), 0.9, 0.75),
        Figure(f"warm worker: wall ÷ {name}", _ratios(costs, WORKER, both), 0.82, 0.7),
        Figure(f"fetch: CPU seconds ÷ {name}", _ratios(costs, OURS.name, both, _CPU), 1.12, 1.05),
        Figure(f"warm worker: CPU seconds ÷ {name}", _ratios(costs, WORKER, both, _CPU), 1.05, 1.0),
        Figure("fetch: wall ÷ curl, which verifies nothing", _ratios(costs, OURS.name, CURL.name), 1.7, 1.2),
        Figure("warm worker: wall ÷ curl", _ratios(costs, WORKER, CURL.name)),
        Figure("fetch: wall ÷ aria2c -x8 --checksum", _ratios(costs, OURS.name, ARIA2C.name), 0.8, 0.5),
        Figure("fetch: wall ÷ hf download", _ratios(costs, OURS.name, HF.name), 0.8, 0.5),
    ]


def of_limited(costs: Costs) -> list[Figure]:
    """The kernel sets the time over one connection, so a round in which that did not run takes the others' median."""
    one, eight = _column(costs[OURS_IN_ONE.name], _WALL), _column(costs[OURS.name], _WALL)
    faster = tuple(ratios(filled(one), eight))
    return [Figure("hub that gives each connection 1/8 of the line: 8 connections ÷ 1", faster, 7, 7.8, at_least=True)]


def of_far(costs: Costs) -> list[Figure]:
    return [
        Figure("far path: wall ÷ aria2c -x8 --checksum", _ratios(costs, OURS.name, ARIA2C.name), 1.0, 0.8),
        Figure("far path: wall ÷ curl", _ratios(costs, OURS.name, CURL.name)),
    ]


def of_small(costs: Costs) -> list[Figure]:
    pairs = zip(costs[OURS.name], costs[CURL.name], strict=True)
    longer = tuple(ours.cost.wall - curl.cost.wall for ours, curl in pairs if ours and curl)
    return [Figure("fetch of 1 MiB: wall beyond curl's", longer, 0.25, 0.11, unit="s")]


def of_memory(peaks: Sequence[Peak]) -> list[Figure]:
    highest = tuple(max(of_round) / MIB for of_round in zip(*(peak.peaks for peak in peaks), strict=True))
    name = "peak memory of a worker, any size, 1 to 16 connections, the worst"
    return [Figure(name, highest, 64, 48, unit="MiB", worst=True)]


def of_killed(results: Sequence[Resumed]) -> list[Figure]:
    twice = tuple(result.twice / MIB for result in results)
    again = tuple(result.journalled_again / MIB for result in results)
    return [
        Figure("sent twice after kill -9, the worst", twice, 64, 16, unit="MiB", worst=True),
        Figure("… of what the journal held", again, 0, 0, unit="MiB", worst=True),
    ]


def left_out(name: str, runs: Sequence[Run | None]) -> list[int]:
    """The positions of the rounds that do not count: those in which a rival stalled. All of ours count."""
    return [] if name in (OURS.name, OURS_IN_ONE.name, WORKER) else stalled(_column(runs, _WALL))


def _ratios(costs: Costs, ours: str, rival: str, take: _Take = _WALL) -> tuple[float, ...]:
    counted = without(_column(costs[rival], take), left_out(rival, costs[rival]))
    return tuple(ratios(_column(costs[ours], take), counted))


def _column(runs: Sequence[Run | None], take: _Take) -> list[float | None]:
    return [take(run.cost) if run else None for run in runs]
