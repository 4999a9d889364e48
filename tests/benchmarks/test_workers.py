"""The page of `make bench-workers`, from fixed measurements."""

from collections import Counter

from benchmarks.workers.lost import Lost
from benchmarks.workers.report import Report
from benchmarks.workers.restart import Restart
from benchmarks.workers.scale import Scale

MIB = 1024 * 1024


def scale(count: int, writes: int, memory: float = 150.0) -> Scale:
    kinds = Counter({"jobs POST": count, "events POST": writes - count})
    return Scale(count, 12.5, kinds, 80.0, memory, 1.5, count, count)


def whole(*, writes: int = 480, connected: float = 4.0, jobs: int = 0, journalled: int = 0) -> Report:
    losses = [Lost("deleted", 0, 0), Lost("killed", 3 * MIB, 0), Lost("killed", 14 * MIB, journalled)]
    return Report(
        [scale(50, 500), scale(100, 1200, 310.0), scale(50, writes)], Restart(50, 1.5, connected, jobs, MIB), losses
    )


def rows(report: Report) -> list[str]:
    return [line for line in report.text("Measured on 2 cores.", "It was quiet.").splitlines() if line.startswith("|")]


def test_each_figure_has_a_row_with_its_bound() -> None:
    found = rows(whole())
    assert "| … writes to the API server per download | 10 | ≤ 12 |  | met |" in found
    assert "| … writes to the API server per download | 12 | ≤ 12 |  | met |" in found
    assert "| … most memory of the operator and its workers together | 310 MiB | ≤ 300 MiB |  | **missed** |" in found
    assert "| … CPU of the operator per download | 30 ms |  |  |  |" in found
    restarted = "operator restarted, 50 pods at half: SIGTERM → all connected to the next one"
    assert f"| {restarted} | 4 s | ≤ 10 s |  | met |" in found
    lost = "pod killed at half of 128 MiB (2 times): bytes fetched again, the most"
    assert f"| {lost} | 14 MiB | ≤ 16 MiB |  | met |" in found


def test_the_writes_have_a_column_for_each_number_of_objects() -> None:
    found = rows(Report([scale(50, 500), scale(100, 1200)]))
    assert found[-4:] == [
        "| request | 50 objects | 100 objects |",
        "| --- | --- | --- |",
        "| events POST | 9.00 | 11.00 |",
        "| jobs POST | 1.00 | 1.00 |",
    ]


def test_a_figure_that_falls_short_is_missed() -> None:
    def missed(report: Report) -> list[str]:
        return [figure.name for figure in report.figures if figure.missed]

    usual = len(missed(whole()))
    for worse in (whole(writes=601), whole(connected=10.5), whole(jobs=1), whole(journalled=1)):
        assert len(missed(worse)) == usual + 1


def test_a_scene_that_did_not_run_has_no_row() -> None:
    found = rows(Report(restart=Restart(50, 1.5, 4.0, 0, 0)))
    assert [row for row in found if "pod" in row and "restarted" not in row] == [
        "| … bytes fetched again, all pods together | 0 MiB |  |  |  |"
    ]
