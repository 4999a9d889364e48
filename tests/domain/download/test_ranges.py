"""The next range to request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.download.ranges import (
    LARGEST_RANGE,
    MIB,
    SMALLEST_RANGE,
    ByteRange,
    next_range,
    range_size,
    split_position,
)
from model_provisioner.domain.download.spans import Spans


def test_a_range_is_asked_for_with_an_inclusive_end() -> None:
    assert ByteRange(5, 10).header == "bytes=5-9"


@given(size=st.integers(1, 10**12), connections=st.integers(1, 16))
def test_ranges_are_bounded(size: int, connections: int) -> None:
    assert SMALLEST_RANGE <= range_size(size, connections) <= LARGEST_RANGE


def test_every_connection_gets_several_ranges_of_a_large_file() -> None:
    assert range_size(512 * MIB, 8) == 32 * MIB


@pytest.mark.parametrize(("connections", "size"), [(1, 8), (2, 4), (8, 1), (16, 1)])  # in half MiB
def test_the_last_ranges_are_small_so_that_all_connections_end_together(connections: int, size: int) -> None:
    assert range_size(5, connections) == size * MIB // 2


def test_nothing_is_asked_for_where_all_is_there_or_on_its_way() -> None:
    assert next_range(Spans(((0, 50),)), [ByteRange(50, 100)], 100, 10) is None


@given(
    pairs=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200)), max_size=8),
    size=st.integers(1, 200),
    largest=st.integers(1, 50),
)
def test_claims_in_turn_cover_each_missing_byte_once(pairs: list[tuple[int, int]], size: int, largest: int) -> None:
    there = Spans()
    for pair in pairs:
        there = there.add(min(pair), max(pair))
    claimed: list[ByteRange] = []
    while wanted := next_range(there, claimed, size, largest):
        assert 0 < wanted.size <= largest
        claimed.append(wanted)
    present = {byte for low, high in there.pairs for byte in range(low, high)}
    asked = [byte for wanted in claimed for byte in range(wanted.start, wanted.stop)]
    assert sorted(asked) == sorted(set(range(size)) - present)


@given(
    position=st.integers(0, 10**11),
    left=st.integers(0, 64 * MIB),
    rate=st.floats(0, 1e9),
    helper_rate=st.floats(0, 1e9),
)
def test_what_is_given_away_has_not_come_and_both_end_together(
    position: int, left: int, rate: float, helper_rate: float
) -> None:
    stop = position + left
    cut = split_position(position, stop, rate, helper_rate)
    if cut is None:
        assert left < MIB or left < 2 * rate
    else:
        assert position <= cut < stop
        assert cut - position <= stop - cut + 1, "the helper is at least as fast"


def test_a_silent_connection_gives_everything_away() -> None:
    assert split_position(5 * MIB, 64 * MIB, 0.0, 10 * MIB) == 5 * MIB


def test_what_ends_soon_is_kept() -> None:
    assert split_position(0, 10 * MIB, 6 * MIB, 6 * MIB) is None
