"""Spans behave like a set of byte offsets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.download.spans import Spans

SIZE = 40
ADDITIONS = st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(sorted).map(tuple), max_size=12)


def spans_of(additions: list[tuple[int, int]]) -> Spans:
    spans = Spans()
    for start, end in additions:
        spans = spans.add(start, end)
    return spans


@given(ADDITIONS)
def test_spans_are_the_set_of_the_bytes_that_were_added(additions: list[tuple[int, int]]) -> None:
    spans, there = spans_of(additions), {byte for start, end in additions for byte in range(start, end)}
    gaps = {byte for start, end in spans.missing(SIZE) for byte in range(start, end)}

    assert {byte for start, end in spans.pairs for byte in range(start, end)} == there
    assert gaps == set(range(SIZE)) - there
    assert spans.total == len(there)
    assert spans.prefix_end == next(byte for byte in range(SIZE + 1) if byte not in there)
    assert spans.end == max(there, default=-1) + 1
    assert spans.covers(SIZE) == (there == set(range(SIZE)))


@given(ADDITIONS, st.randoms(use_true_random=False))
def test_the_order_of_additions_does_not_matter(additions: list[tuple[int, int]], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(additions)
    random.shuffle(shuffled)
    assert spans_of(additions) == spans_of(shuffled)


@given(ADDITIONS)
def test_what_is_written_down_reads_back(additions: list[tuple[int, int]]) -> None:
    spans = spans_of(additions)
    assert Spans.from_pairs([list(pair) for pair in spans.pairs]) == spans


def test_gaps_end_at_the_size_that_is_asked_for() -> None:
    spans = Spans().add(0, 10).add(20, 30)
    assert spans.missing(25) == ((10, 20),)
    assert spans.missing(5) == ()
    assert spans.missing(35) == ((10, 20), (30, 35))
    assert Spans().missing(0) == ()


@pytest.mark.parametrize(
    "pairs",
    [[[5, 5]], [[6, 5]], [[-1, 5]], [[0, 5], [5, 9]], [[0, 5], [3, 9]], [[10, 20], [0, 5]], [[1]], [[1, 2, 3]]],
    ids=["empty", "reversed", "negative", "touching", "overlapping", "unsorted", "short", "long"],
)
def test_pairs_that_we_never_write_are_refused(pairs: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="is not a span"):
        Spans.from_pairs(pairs)


@pytest.mark.parametrize("span", [(5, 4), (-1, 3)])
def test_what_is_not_a_span_is_not_added(span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="is not a span"):
        Spans().add(*span)
