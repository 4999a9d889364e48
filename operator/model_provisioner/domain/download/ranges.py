"""Decides which bytes a connection requests next.

`transfer.download.requests.range_request` and the connections of a download call this. Every request has a bounded
range: some content hosts refuse a request for the whole of a very large file. What an answer has is decided in
`range_answer`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from model_provisioner.domain.download.spans import Spans

MIB = 1024 * 1024
FIRST_RANGE = 8 * MIB  # until the first bytes of the file are checked
SMALLEST_RANGE = MIB // 2
LARGEST_RANGE = 64 * MIB
_RANGES_PER_CONNECTION = 2
_MIN_SPLIT = MIB
SOON_SECONDS = 2.0
FAR_SOON_SECONDS = 0.5
"""On a far path little is on its way at one time, so a range that is split wastes little."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes `[start, stop)` of a file; never empty."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    def moved(self, by: int) -> "ByteRange":
        """The range `by` bytes further on."""
        return ByteRange(self.start + by, self.stop + by) if by else self

    @property
    def header(self) -> str:
        """The value of the Range header (RFC 9110, 14.2), whose last position is inclusive."""
        return f"bytes={self.start}-{self.stop - 1}"


def range_size(remaining: int, connections: int) -> int:
    """The size of the next range in bytes: 64 MiB, and towards the end less, so that all connections end together.

    The last ranges of all connections have 4 MiB together, and each at least 512 KiB, because a request costs a round
    trip. `remaining` bytes of the file are missing.
    """
    share = remaining // (connections * _RANGES_PER_CONNECTION)
    return max(SMALLEST_RANGE, FIRST_RANGE // 2 // connections, min(LARGEST_RANGE, share))


def split_position(position: int, stop: int, rate: float, helper_rate: float, soon: float = SOON_SECONDS) -> int | None:
    """Where to split a range so that an idle connection fetches its end; None if the rest arrives in `soon` seconds.

    The range ends at `stop` and has arrived up to `position`. Rates are in bytes per second, `helper_rate` is that of
    the idle connection. Both parts then end at the same time.
    """
    left = stop - position
    if left < _MIN_SPLIT or left < rate * soon:
        return None
    return position + int(left * rate / (rate + max(helper_rate, rate, 1.0)))


def next_range(present: Spans, claimed: Iterable[ByteRange], file_size: int, largest: int) -> ByteRange | None:
    """The first range of at most `largest` bytes that is neither `present` nor `claimed` by another connection.

    None if there is no such byte.
    """
    for taken in claimed:
        present = present.add(taken.start, taken.stop)
    gap = next(iter(present.missing(file_size)), None)
    return None if gap is None else ByteRange(gap[0], min(gap[1], gap[0] + largest))
