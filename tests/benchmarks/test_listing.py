"""What a long listing costs a resolver, a real process: memory only, because time depends on the machine."""

import sys

import pytest

from benchmarks.transfer import listing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")


def test_ten_thousand_keys_raise_the_memory_of_a_resolver_by_less_than_20_mib() -> None:
    with listing.scripted(10_000) as endpoint:
        cost = listing.measure(endpoint)
    assert 0 <= cost.more < listing.MOST_BYTES


def test_a_cost_that_is_too_high_does_not_hold() -> None:
    assert listing.Cost(2.9, listing.MOST_BYTES - 1).holds
    assert not listing.Cost(3.1, 0).holds
    assert not listing.Cost(0.1, listing.MOST_BYTES).holds
