"""An immutable set of byte positions as half-open spans `[start, end)`: the bytes of a file that are present.

A journal stores one (`domain.store.journal`), and `domain.download.ranges` plans requests with one. Files do not belong
here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Spans:
    """`pairs` are sorted, non-empty, and do not overlap or touch. Use `add` or `from_pairs` to make them."""

    pairs: tuple[Pair, ...] = ()

    @classmethod
    def from_pairs(cls, pairs: Iterable[Sequence[int]]) -> "Spans":
        """The spans with exactly these pairs. Raises ValueError if they are not sorted, separate and non-empty."""
        checked: list[Pair] = []
        for pair in pairs:
            if len(pair) != 2 or pair[0] < 0 or pair[0] >= pair[1] or (checked and pair[0] <= checked[-1][1]):
                raise ValueError(f"{tuple(pair)!r} is not a span that follows {checked[-1:]!r}")
            checked.append((pair[0], pair[1]))
        return cls(tuple(checked))

    def add(self, start: int, end: int) -> "Spans":
        """The union with `[start, end)`, which may be empty. Raises ValueError if it is reversed or negative."""
        if start < 0 or end < start:
            raise ValueError(f"[{start}, {end}) is not a span")
        if start == end:
            return self
        before = tuple(pair for pair in self.pairs if pair[1] < start)
        after = tuple(pair for pair in self.pairs if pair[0] > end)
        for low, high in self.pairs[len(before) : len(self.pairs) - len(after)]:
            start, end = min(start, low), max(end, high)
        return Spans((*before, (start, end), *after))

    @property
    def total(self) -> int:
        """The number of bytes present."""
        return sum(end - start for start, end in self.pairs)

    @property
    def prefix_end(self) -> int:
        """The end of the span that starts at byte 0; 0 if there is none."""
        return self.pairs[0][1] if self.pairs and self.pairs[0][0] == 0 else 0

    @property
    def end(self) -> int:
        """One past the last byte that is present; 0 if there is none."""
        return self.pairs[-1][1] if self.pairs else 0

    def missing(self, size: int) -> tuple[Pair, ...]:
        """The spans of `[0, size)` that are not present, in order."""
        edges = [0, *(edge for pair in self.pairs for edge in pair), size]
        clipped = [min(edge, size) for edge in edges]
        return tuple((low, high) for low, high in zip(clipped[::2], clipped[1::2], strict=True) if low < high)

    def covers(self, size: int) -> bool:
        """Whether every byte of `[0, size)` is present."""
        return self.prefix_end >= size
