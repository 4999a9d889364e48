"""The figures of the sources, and their limits. Pure: costs in, figures out. How a figure is judged is in `Figure`."""

from collections.abc import Mapping, Sequence

from benchmarks.sources.scenes import Expired, Resumed, ours, rival
from benchmarks.transfer.figures import Figure
from benchmarks.transfer.scenes import MIB, Costs
from benchmarks.transfer.spread import ratios

_SLOWEST, _STRETCH = 1.0, 0.9  # wall time against curl and openssl
_MOST_TWICE, _STRETCH_TWICE = 16, 8  # MiB
_MOST_MEMORY, _STRETCH_MEMORY = 64, 56  # MiB


def of_source(name: str, costs: Costs, resumed: Sequence[Resumed]) -> list[Figure]:
    """`name` is that of the source; `resumed` has its rounds, empty if they were not measured, as `costs` can be."""
    found = []
    if ours(name) in costs:
        walls = (_walls(costs, key) for key in (ours(name), rival(name)))
        found.append(Figure(f"{name}: wall ÷ (curl, then openssl dgst)", tuple(ratios(*walls)), _SLOWEST, _STRETCH))
    if resumed:
        twice, peaks = (tuple(each / MIB for each in values) for values in _columns(resumed))
        label = f"{name}: sent twice after kill -9 at half, the worst"
        found.append(Figure(label, twice, _MOST_TWICE, _STRETCH_TWICE, unit="MiB", worst=True))
        found.append(_memory(name, peaks))
    return found


def of_expired(found: Sequence[Expired]) -> list[Figure]:
    figures = []
    for one in found:
        label = f"{one.what}, which expires every few seconds: bytes sent twice"
        figures.append(Figure(label, (float(one.twice),), 0, 0, worst=True))
    if found:
        figures.append(_memory("8 connections", tuple(one.peak / MIB for one in found)))
    return figures


def all_of(
    names: Sequence[str], costs: Costs, resumed: Mapping[str, Sequence[Resumed]], expired: Sequence[Expired]
) -> list[Figure]:
    of_sources = [figure for name in names for figure in of_source(name, costs, resumed.get(name, ()))]
    return [*of_sources, *of_expired(expired)]


def _memory(name: str, peaks: tuple[float, ...]) -> Figure:
    label = f"{name}: peak memory of a worker, the worst"
    return Figure(label, peaks, _MOST_MEMORY, _STRETCH_MEMORY, unit="MiB", worst=True)


def _columns(resumed: Sequence[Resumed]) -> tuple[list[int], list[int]]:
    return [one.twice for one in resumed], [one.peak for one in resumed]


def _walls(costs: Costs, name: str) -> list[float | None]:
    return [run.cost.wall if run else None for run in costs[name]]
