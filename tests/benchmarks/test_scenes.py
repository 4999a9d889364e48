"""The order in which a scene runs what it compares."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.transfer.measure import Cost
from benchmarks.transfer.scenes import in_turn

COST = Cost(1.0, 0.5, 1024)


def test_each_round_runs_every_program_in_turn_and_a_slow_one_every_third_round(tmp_path: Path) -> None:
    called: list[str] = []
    directories: set[Path] = set()

    def program(name: str) -> Callable[[Path], Cost]:
        def run(directory: Path) -> Cost:
            assert list(directory.iterdir()) == []
            (directory / "model").touch()
            called.append(name)
            directories.add(directory)
            return COST

        return run

    costs = in_turn("any", {"ours": program("ours"), "slow": program("slow")}, 7, tmp_path, seldom={"slow"})
    seldom = [["ours", "slow"], ["ours"], ["ours"]]
    assert called == [name for names in [*seldom, *seldom, seldom[0]] for name in names]
    assert [run is not None for run in costs["slow"]] == [True, False, False, True, False, False, True]
    assert [run.cost for run in costs["ours"] if run] == [COST] * 7
    assert not any(directory.exists() for directory in directories)
