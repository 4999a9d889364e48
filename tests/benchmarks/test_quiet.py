"""The noise is what is not ours, and a report says how much there was."""

import sys

import pytest

from benchmarks.quiet import Noise, Reading, between, sentence, watched

BEFORE = Reading(when=10, busy=100, ours=40, stolen=1, waiting=5)


def test_what_is_not_ours_is_told_as_shares_of_one_core() -> None:
    noise = between(BEFORE, Reading(when=14, busy=106, ours=44, stolen=1.2, waiting=7))
    assert (noise.others, noise.stolen, noise.waiting) == pytest.approx((0.5, 0.05, 0.5))


def test_sampled_time_that_is_less_than_our_exact_time_is_no_noise() -> None:
    assert between(BEFORE, Reading(when=14, busy=103, ours=44, stolen=1, waiting=7)).others == 0


def test_a_kernel_that_tells_no_waits_leaves_them_out() -> None:
    noise = between(BEFORE, Reading(when=14, busy=106, ours=44, stolen=1, waiting=None))
    assert noise.waiting is None
    assert "waited" not in sentence(0.5, [noise])


@pytest.mark.parametrize(
    ("others", "stolen", "disturbed"), [(0.09, 0.0, False), (0.11, 0.0, True), (0.0, 0.11, True), (0.06, 0.06, True)]
)
def test_a_run_is_disturbed_by_what_others_and_the_hypervisor_take_together(
    others: float, stolen: float, disturbed: bool
) -> None:
    assert Noise(others, stolen, None).disturbed == disturbed


def test_the_sentence_names_the_worst_of_all_runs() -> None:
    text = sentence(0.25, [Noise(0.01, 0.02, 0.3), Noise(0.9, 0.0, 0.4), Noise(0.03, 0.0, 0.2)])
    assert "**not quiet** in 1 of 3 runs" in text
    assert "load average was 0.2 at the beginning" in text
    assert "used at most 90 % of a core, and the hypervisor took at most 2 %." in text
    assert "waited for a core at most 40 % of a run" in text


def test_a_quiet_machine_is_called_quiet() -> None:
    assert sentence(0.0, [Noise(0.02, 0.0, 0.1)]).startswith("The machine was quiet: ")


def test_a_sentence_names_the_parts_of_the_time_that_were_watched() -> None:
    assert "in 1 of 2 windows" in sentence(0.0, [Noise(0.0, 0.0, 0.1), Noise(0.4, 0.0, 0.1)], "window")


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_block_that_is_shorter_than_a_window_is_watched_too() -> None:
    with watched() as noises:
        assert sum(range(1000)) == 499500
    assert len(noises) == 1
    assert noises[0].others >= 0
