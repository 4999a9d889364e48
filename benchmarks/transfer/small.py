"""The scene of a small model: what a fetch costs besides moving bytes. `python -m benchmarks.transfer.small` runs it.

Start of the interpreter, imports, certificates, requests and fsyncs are most of a fetch of 1 MiB. `curl` fetches the
same file from the same hub; the interpreter that does nothing is the floor. The program is compiled to byte code first,
as in the image, because an interpreter that may not write byte code compiles every module at each start.
"""

import argparse
import compileall
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import model_provisioner
from benchmarks.transfer import hub, measure, programs
from benchmarks.transfer.measure import Cost, median_cost
from benchmarks.transfer.model import model_of
from benchmarks.transfer.scenes import MIB, Costs

INTERPRETER = "python -c pass"
_PROGRAMS = (programs.OURS, programs.CURL)


def small(rounds: int, scratch: Path) -> Costs:
    """The cost of a model of 1 MiB by every program in turn, round after round."""
    compileall.compile_dir(Path(model_provisioner.__file__).parent, quiet=2)
    with hub.running(model_of(MIB), scratch) as here:
        runs = {program.name: _run_of(program, here) for program in _PROGRAMS} | {INTERPRETER: _start_interpreter}
        costs: dict[str, list[Cost]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, cost in _round(runs, scratch).items():
                costs[name].append(cost)
    return costs


def beyond_curl(costs: Costs) -> float:
    """The seconds of wall-clock time of a fetch beyond those of `curl`."""
    return median_cost(costs[programs.OURS.name]).wall - median_cost(costs[programs.CURL.name]).wall


def _round(runs: Mapping[str, Callable[[Path], Cost]], scratch: Path) -> Mapping[str, Cost]:
    costs = {}
    for name, run in runs.items():
        directory = Path(tempfile.mkdtemp(dir=scratch))
        costs[name] = run(directory)
        shutil.rmtree(directory)
    return costs


def _run_of(program: programs.Program, source: hub.Hub) -> Callable[[Path], Cost]:
    return lambda directory: programs.fetch(program, source, directory)


def _start_interpreter(_: Path) -> Cost:
    return measure.run([sys.executable, "-c", "pass"], {})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer.small", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="of every program (default %(default)s)")
    parser.add_argument(
        "--memory", type=Path, default=Path("/dev/shm"), metavar="DIR", help="a tmpfs (default %(default)s)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.memory, prefix="bench-") as scratch:
        costs = small(options.rounds, Path(scratch))
    for name, rounds in costs.items():
        cost = median_cost(rounds)
        print(f"{name}: {cost.wall * 1000:.0f} ms, {cost.cpu * 1000:.0f} ms CPU, {cost.peak / MIB:.0f} MiB")
    print(f"beyond curl: {beyond_curl(costs) * 1000:.0f} ms")


if __name__ == "__main__":
    main()
