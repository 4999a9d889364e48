"""How the benchmark makes figures of costs, and when a figure holds."""

from collections.abc import Sequence

import pytest

from benchmarks.quiet import Noise
from benchmarks.transfer import figures
from benchmarks.transfer.figures import Figure
from benchmarks.transfer.measure import Cost, Run
from benchmarks.transfer.programs import ARIA2C, CURL, CURL_AND_OPENSSL, HF, OURS, OURS_IN_ONE
from benchmarks.transfer.scenes import MIB, WORKER, Peak, Resumed
from benchmarks.transfer.spread import Spread, filled, ratios, spread, stalled, without

SEVEN = (0.7, 0.9, 0.8, 0.6, 1.0, 0.5, 0.4)


def runs(walls: Sequence[float | None], cpu: float = 1.0) -> list[Run | None]:
    return [None if wall is None else Run(Cost(wall, cpu, 10 * MIB), Noise(0, 0, None)) for wall in walls]


def values_of(found: Sequence[Figure], part: str) -> tuple[float, ...]:
    (one,) = [figure for figure in found if part in figure.name]
    return one.values


def test_the_spread_of_seven_rounds_has_the_values_between_which_half_of_them_lie() -> None:
    found = spread(SEVEN)
    assert (found.median, found.least, found.most) == (0.7, 0.4, 1.0)
    assert (found.lower, found.upper) == pytest.approx((0.55, 0.85))


@pytest.mark.parametrize(
    ("values", "expected"),
    [((2.0,), Spread(2, 2, 2, 2, 2)), ((1.0, 3.0), Spread(2, 1.5, 2.5, 1, 3))],
)
def test_the_spread_of_few_rounds_is_defined(values: tuple[float, ...], expected: Spread) -> None:
    assert spread(values) == expected


@pytest.mark.parametrize(
    ("walls", "positions"),
    [
        ((4.0, 62.0, 4.2, 4.1), [1]),
        ((4.0, 12.0, 4.0), []),  # three times the median exactly
        ((4.0, None, 13.0, 4.0), [2]),
        ((62.0, 4.0, 61.0), []),  # most rounds are slow, so slow is usual
        ((62.0,), []),
    ],
)
def test_a_round_is_left_out_if_it_takes_more_than_three_times_the_median(
    walls: tuple[float | None, ...], positions: list[int]
) -> None:
    assert stalled(walls) == positions


def test_a_ratio_is_taken_within_a_round_that_both_took_part_in() -> None:
    assert ratios([1, 2, None, 4], [2, 8, 1, None]) == [0.5, 0.25]
    assert without([1, 2, 3], [1]) == [1, None, 3]
    assert filled([64, None, 66, None]) == [64, 65, 66, 65]


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.6, 0.6, 0.6, 0.6, 0.6, 1.5, 0.7), "holds, stretch too"),
        ((0.8, 0.8, 0.8, 0.8, 0.8, 1.5, 0.8), "holds"),
        ((0.8, 0.8, 0.8, 0.8, 1.2, 1.2, 1.2), "**holds in 4 of 7 rounds**"),
        ((1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 0.8), "**holds in 1 of 7 rounds**"),
        ((1.2,) * 7, "**missed**"),
    ],
)
def test_a_figure_holds_if_three_quarters_of_its_rounds_do(values: tuple[float, ...], verdict: str) -> None:
    figure = Figure("any", values, 1.0, 0.75)
    assert figure.verdict == verdict
    assert figure.holds == verdict.startswith("holds")


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((7.9,) * 6 + (2.0,), "holds, stretch too"),
        ((7.2,) * 6 + (2.0,), "holds"),
        ((7.2,) * 4 + (6.9,) * 3, "**holds in 4 of 7 rounds**"),
    ],
)
def test_a_lower_limit_is_compared_with_the_lower_quartile(values: tuple[float, ...], verdict: str) -> None:
    assert Figure("any", values, 7, 7.8, at_least=True).verdict == verdict


def test_a_limit_on_the_worst_is_missed_by_one_round() -> None:
    figure = Figure("any", (40, 41, 42, 43, 44, 45, 70), 64, 48, unit="MiB", worst=True)
    assert not figure.holds
    assert figure.row == ("any", "70.0 MiB", "40.0 – 70.0", "≤ 64 MiB", "≤ 48 MiB", "**holds in 6 of 7 rounds**")


@pytest.mark.parametrize("values", [(1.2,), (1.2,) * 3])
def test_a_ratio_of_too_few_rounds_is_not_judged(values: tuple[float, ...]) -> None:
    figure = Figure("any", values, 1.0, 0.75)
    assert (figure.verdict, figure.holds) == ("too few rounds", True)
    assert not Figure("any", values, 1.0, 0.75, worst=True).holds


def test_a_figure_without_a_limit_has_no_verdict_and_holds() -> None:
    figure = Figure("any", (2.0, 4.0))
    assert (figure.holds, figure.row) == (True, ("any", "3.00", "2.50 – 3.50", "", "", ""))


def test_a_stalled_round_of_a_rival_counts_in_no_ratio_and_one_of_ours_counts() -> None:
    costs = {
        OURS.name: runs([2, 2, 2, 40]),
        WORKER: runs([2, 2, 2, 2]),
        CURL.name: runs([2, 2, 2, 2]),
        CURL_AND_OPENSSL.name: runs([4, 4, 4, 4]),
        ARIA2C.name: runs([4, 62, 4, 4]),
        HF.name: runs([4, 4, 4, 4]),
    }
    found = figures.of_near(costs)
    assert values_of(found, "fetch: wall ÷ aria2c") == (0.5, 0.5, 10)
    assert values_of(found, "fetch: wall ÷ hf") == (0.5, 0.5, 0.5, 10)
    assert [figures.left_out(name, costs[name]) for name in (ARIA2C.name, OURS.name)] == [[1], []]


def test_cpu_time_is_compared_with_cpu_time() -> None:
    names = (OURS.name, WORKER, CURL.name, CURL_AND_OPENSSL.name, ARIA2C.name, HF.name)
    costs = {name: runs([1.0], cpu=number) for number, name in enumerate(names, start=1)}
    found = figures.of_near(costs)
    assert values_of(found, "fetch: CPU seconds") == (0.25,)
    assert values_of(found, "warm worker: CPU seconds") == (0.5,)


def test_a_program_that_takes_every_third_round_is_compared_in_all_of_them_if_its_time_is_set() -> None:
    costs = {OURS_IN_ONE.name: runs([64, None, None, 64]), OURS.name: runs([8, 16, 8, 4])}
    assert values_of(figures.of_limited(costs), "8 connections") == (8, 4, 8, 16)


def test_the_far_path_is_compared_with_curl_in_the_rounds_that_it_takes() -> None:
    costs = {OURS.name: runs([10, 12, 14]), CURL.name: runs([50, None, None]), ARIA2C.name: runs([10, 100, 10])}
    found = figures.of_far(costs)
    assert values_of(found, "÷ curl") == (0.2,)
    assert values_of(found, "÷ aria2c") == (1.0, 1.4)


def test_a_small_model_is_compared_in_seconds() -> None:
    (figure,) = figures.of_small({OURS.name: runs([0.5, 0.6]), CURL.name: runs([0.25, 0.1])})
    assert figure.values == (0.25, 0.5)


def test_the_worst_of_a_round_is_its_highest_row() -> None:
    (figure,) = figures.of_memory([Peak(1, 1, (50 * MIB, 51 * MIB)), Peak(1, 8, (49 * MIB, 60 * MIB))])
    assert (figure.values, figure.worst) == ((50, 60), True)


def test_one_byte_of_the_journal_that_is_sent_again_is_missed() -> None:
    found = figures.of_killed([Resumed(1, 2 * MIB, 0), Resumed(2, 3 * MIB, 1)])
    assert [figure.holds for figure in found] == [True, False]
