"""Which bytes of a file are there: an immutable set of half-open byte spans `[start, end)`.

The journal keeps one, the transfer engine plans its ranges from one. Nothing here knows files.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Spans:
    """`pairs` are sorted, non-empty, and neither overlap nor touch; make them with `add` or `from_pairs`."""

    pairs: tuple[Pair, ...] = ()

    @classmethod
    def from_pairs(cls, pairs: Iterable[Sequence[int]]) -> "Spans":
        """Spans as they were written down. Raises ValueError where `pairs` is not exactly what `pairs` holds."""
        checked: list[Pair] = []
        for pair in pairs:
            if len(pair) != 2 or pair[0] < 0 or pair[0] >= pair[1] or (checked and pair[0] <= checked[-1][1]):
                raise ValueError(f"{tuple(pair)!r} is not a span that follows {checked[-1:]!r}")
            checked.append((pair[0], pair[1]))
        return cls(tuple(checked))

    def add(self, start: int, end: int) -> "Spans":
        """These bytes and those of `[start, end)`; an empty span changes nothing. Raises ValueError if reversed."""
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
        """How many bytes are there."""
        return sum(end - start for start, end in self.pairs)

    @property
    def prefix_end(self) -> int:
        """The end of the contiguous run that starts at byte 0; 0 where there is none."""
        return self.pairs[0][1] if self.pairs and self.pairs[0][0] == 0 else 0

    @property
    def end(self) -> int:
        """One past the last byte that is there; 0 where there is none."""
        return self.pairs[-1][1] if self.pairs else 0

    def missing(self, size: int) -> tuple[Pair, ...]:
        """The gaps within `[0, size)`, in order."""
        edges = [0, *(edge for pair in self.pairs for edge in pair), size]
        clipped = [min(edge, size) for edge in edges]
        return tuple((low, high) for low, high in zip(clipped[::2], clipped[1::2], strict=True) if low < high)

    def covers(self, size: int) -> bool:
        """Is every byte of `[0, size)` there?"""
        return self.prefix_end >= size
