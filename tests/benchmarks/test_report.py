"""The page of `make bench`, from fixed costs.

`UPDATE_GOLDENS=1 pytest tests/benchmarks/test_report.py` rewrites it; `git diff` shows the changes.
"""

import os
from pathlib import Path

from benchmarks.quiet import Noise
from benchmarks.transfer import report
from benchmarks.transfer.measure import Cost, Run
from benchmarks.transfer.model import Model
from benchmarks.transfer.programs import ARIA2C, CURL, CURL_AND_OPENSSL, HF, OURS, OURS_IN_ONE, WGET
from benchmarks.transfer.report import JUDGED_SIZE, Report, Section
from benchmarks.transfer.scenes import MIB, WORKER, Costs, Peak, Resumed

GOLDEN = Path(__file__).parents[1] / "data" / "goldens" / "bench_report.md"
MODEL = Model(Path("model.gguf"), JUDGED_SIZE, "0" * 64)
QUIET, DISTURBED = Noise(0.01, 0.0, 0.25), Noise(0.6, 0.01, 0.75)


def run(wall: float, cpu: float = 3.5, noise: Noise = QUIET) -> Run:
    return Run(Cost(wall, cpu, 60 * MIB), noise)


def near() -> Costs:
    return {
        OURS.name: [run(3.2, 3.7), run(3.3, 3.8), run(4.4, 3.9, DISTURBED), run(3.3, 3.8)],
        OURS_IN_ONE.name: [run(3.4), run(3.5), run(3.6), run(3.5)],
        CURL.name: [run(2.0, 2.0), run(2.1, 2.0), run(2.2, 2.0), run(2.1, 2.0)],
        CURL_AND_OPENSSL.name: [run(3.6), run(3.7), run(5.0, noise=DISTURBED), run(3.7)],
        ARIA2C.name: [run(4.4), run(62.7), run(4.2), run(4.3)],
        HF.name: [run(5.1), run(5.2), run(5.3), run(5.2)],
        WGET.name: [run(2.4), run(2.5), run(2.6), run(2.5)],
        WORKER: [run(2.7, 3.6), run(2.8, 3.7), run(2.9, 3.8), run(2.8, 3.7)],
    }


def whole() -> Report:
    sections = [
        report.near(near(), MODEL.size),
        report.small({OURS.name: [run(0.2), run(0.3), run(0.2), run(0.6)], CURL.name: [run(0.1)] * 4}),
        report.limited(
            {OURS.name: [run(9.0), run(9.1), run(9.0), run(9.0)], OURS_IN_ONE.name: [run(64.5), *[None] * 3]}
        ),
        Section("A far path", "Not measured: network namespaces need root.\n"),
        report.memory([Peak(JUDGED_SIZE, 1, (55 * MIB, 54 * MIB)), Peak(JUDGED_SIZE, 16, (48 * MIB, 49 * MIB))]),
        report.killed([Resumed(512 * MIB, 12 * MIB, 0), Resumed(1024 * MIB, 15 * MIB, 0)]),
    ]
    return Report("2 cores (any).", 0.2, MODEL, 4, sections)


def test_the_page_has_figures_with_their_spread_the_noise_and_what_was_left_out() -> None:
    made = whole().text
    if os.environ.get("UPDATE_GOLDENS"):
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text(made)
    assert made == GOLDEN.read_text(), "the page changed; see it with `UPDATE_GOLDENS=1 pytest` and git diff"


def test_a_report_holds_if_every_figure_does() -> None:
    assert not whole().holds
    assert Report("", 0.0, MODEL, 2, [report.killed([Resumed(1, 0, 0)])]).holds


def test_the_loopback_scene_is_judged_from_the_size_that_its_limits_are_for() -> None:
    assert [figure.must for figure in report.near(near(), JUDGED_SIZE - 1).figures] == [None] * 8
    assert report.near(near(), JUDGED_SIZE).figures[0].must == 0.9


def test_scenes_in_which_noise_does_not_matter_say_nothing_about_it() -> None:
    text = Report("", 0.0, MODEL, 2, [report.killed([Resumed(1, 0, 0)])]).text
    assert "The machine was" not in text
