"""Which bytes a connection asks for next, and whether an answer brings exactly those.

The transfer engine calls `next_range` whenever a connection is free. Bytes are asked for in bounded
ranges always: some content hosts refuse a request for the whole of a very large file.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from model_provisioner.domain.download.spans import Spans

MIB = 1024 * 1024
SMALLEST_RANGE = 8 * MIB
LARGEST_RANGE = 64 * MIB
_RANGES_PER_CONNECTION = 2
_SMALLEST_GIFT = MIB
_SOON_SECONDS = 2.0
_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d+)-(\d+)/(\d+)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` up to, not including, `stop`; never empty."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    @property
    def header(self) -> str:
        """The value of a Range header (RFC 9110, 14.2), whose last position is inclusive."""
        return f"bytes={self.start}-{self.stop - 1}"

    def is_answered_by(self, content_range: str, file_size: int) -> bool:
        """Does a Content-Range header announce exactly these bytes of a file of exactly this size?"""
        match = _CONTENT_RANGE.fullmatch(content_range)
        return match is not None and tuple(map(int, match.groups())) == (self.start, self.stop - 1, file_size)


def range_size(remaining: int, connections: int) -> int:
    """Bytes for the next range: 64 MiB, and less, down to 8, towards the end, so that all connections end together.

    `remaining` bytes of the file are not there yet.
    """
    share = remaining // (connections * _RANGES_PER_CONNECTION)
    return max(SMALLEST_RANGE, min(LARGEST_RANGE, share))


def split_position(position: int, stop: int, rate: float, helper_rate: float) -> int | None:
    """Where to cut a range, so that a helper that has nothing to do brings the end of it.

    `position` is what has come of the range up to `stop`, rates are in bytes per second. Both then end
    at the same moment. None: what is left comes soon enough.
    """
    left = stop - position
    if left < _SMALLEST_GIFT or left < rate * _SOON_SECONDS:
        return None
    return position + int(left * rate / (rate + max(helper_rate, rate, 1.0)))


def next_range(there: Spans, claimed: Iterable[ByteRange], file_size: int, largest: int) -> ByteRange | None:
    """The first at most `largest` bytes that are neither `there` nor `claimed` by another connection."""
    for taken in claimed:
        there = there.add(taken.start, taken.stop)
    gap = next(iter(there.missing(file_size)), None)
    return None if gap is None else ByteRange(gap[0], min(gap[1], gap[0] + largest))
