"""The arithmetic of the benchmark: medians, quartiles, ratios, and which rounds of a rival are left out. Pure.

A ratio is taken within each round, and a figure is the median of these ratios. Both programs of a round ran within a
minute, so a noisy minute affects both; in a ratio of medians it could affect one only, and such a ratio has no spread
that says whether it would come out the same the next time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

STALLED = 3.0
"""A rival's round that takes more than this many times its median is left out."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Of the values of all rounds: the median, the quartiles around it, and the extremes."""

    median: float
    lower: float
    upper: float
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Quartiles are interpolated between the values ("inclusive"), so those of one value are this value."""
    lower, _, upper = quantiles(values, n=4, method="inclusive") if len(values) > 1 else (values[0],) * 3
    return Spread(median(values), lower, upper, min(values), max(values))


def stalled(walls: Sequence[float | None]) -> list[int]:
    """The positions of the rounds that are left out if a rival took these seconds; None: it did not run."""
    usual = median(wall for wall in walls if wall is not None)
    return [position for position, wall in enumerate(walls) if wall is not None and wall > STALLED * usual]


def without(values: Sequence[float | None], positions: Sequence[int]) -> list[float | None]:
    return [None if position in positions else value for position, value in enumerate(values)]


def ratios(ours: Sequence[float | None], rival: Sequence[float | None]) -> list[float]:
    """For each round in which both ran, the first divided by the second."""
    return [one / other for one, other in zip(ours, rival, strict=True) if one is not None and other is not None]


def filled(values: Sequence[float | None]) -> list[float | None]:
    """With the median for each round in which the program did not run; for times that do not vary."""
    usual = median(value for value in values if value is not None)
    return [usual if value is None else value for value in values]
