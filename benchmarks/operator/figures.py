"""The figures of the operator, their bounds, and the table that shows them. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """`must` and `stretch` are upper bounds of `value`; None: the figure has no bound."""

    name: str
    value: float
    unit: str = ""
    must: float | None = None
    stretch: float | None = None

    @property
    def missed(self) -> bool:
        return self.must is not None and self.value > self.must

    @property
    def row(self) -> str:
        cells = (self.name, self._told(self.value), self._bound(self.must), self._bound(self.stretch), self._verdict)
        return f"| {' | '.join(cells)} |"

    @property
    def _verdict(self) -> str:
        if self.must is None:
            return ""
        if self.missed:
            return "**missed**"
        return "met" if self.stretch is None or self.value > self.stretch else "met, stretch too"

    def _bound(self, bound: float | None) -> str:
        return "" if bound is None else f"≤ {self._told(bound)}"

    def _told(self, value: float) -> str:
        number = f"{value:.0f}" if value == round(value) or value >= 100 else f"{value:.3g}"
        return f"{number} {self.unit}".rstrip()


def table(figures: Iterable[Figure]) -> str:
    heads = "| figure | measured | must hold | stretch | |\n|---|---|---|---|---|"
    return "\n".join([heads, *(figure.row for figure in figures)])
