"""`python -m benchmarks.transfer.compare NAME=TREE…`: warm workers of several checkouts against each other.

The tool behind `TRIED.md`: each round has `curl, then openssl dgst`, and one download by the worker of each tree, in an
order that turns round every time. A tree is the root of a checkout; this interpreter runs all of them. Prints medians
and their ratios to the base. Not part of `make bench`, which compares with other programs.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.transfer import hub, programs, worker
from benchmarks.transfer.measure import Cost
from benchmarks.transfer.model import model_of
from benchmarks.transfer.scenes import CONNECTIONS, MIB
from model_provisioner.domain.quantity import parse_quantity

_BASE = programs.CURL_AND_OPENSSL


def compare(trees: Mapping[str, Path], source: hub.Hub, rounds: int, scratch: Path) -> Mapping[str, Sequence[Cost]]:
    """The costs of all rounds, by the name of the tree; those of the base by the name of its program."""
    costs: dict[str, list[Cost]] = {name: [] for name in (_BASE.name, *trees)}
    for number in range(rounds):
        with tempfile.TemporaryDirectory(dir=scratch) as directory:
            costs[_BASE.name].append(programs.fetch(_BASE, source, Path(directory)))
        for name in [*trees][:: -1 if number % 2 else 1]:
            with (
                tempfile.TemporaryDirectory(dir=scratch) as directory,
                _importing(trees[name]),
                worker.running(source) as warm,
            ):
                costs[name].append(warm.fetch(worker.plan_of(source), Path(directory), CONNECTIONS))
    return costs


@contextmanager
def _importing(tree: Path) -> Iterator[None]:
    """Programs that start within the block import the packages of `tree`."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{tree / 'operator'}{os.pathsep}{tree}"
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def _line(name: str, costs: Sequence[Cost], base: Sequence[Cost]) -> str:
    wall, cpu = median(cost.wall for cost in costs), median(cost.cpu for cost in costs)
    walls = median(one.wall / other.wall for one, other in zip(costs, base, strict=True))
    cpus = median(one.cpu / other.cpu for one, other in zip(costs, base, strict=True))
    peak = max(cost.peak for cost in costs) // MIB
    spread = f"{min(cost.wall for cost in costs):.2f} – {max(cost.wall for cost in costs):.2f}"
    return f"{name}: wall {wall:.2f} s ({spread}), CPU {cpu:.2f} s; ÷ base {walls:.3f}, {cpus:.3f}; {peak} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer.compare", description=__doc__)
    parser.add_argument("trees", nargs="+", metavar="NAME=TREE")
    parser.add_argument("--size", default="2Gi", help="of the model (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="(default %(default)s)")
    options = parser.parse_args()
    trees = {name: Path(tree) for name, _, tree in (text.partition("=") for text in options.trees)}
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="bench-") as directory:
        scratch = Path(directory)
        with hub.running(model_of(parse_quantity(options.size)), scratch) as source:
            costs = compare(trees, source, options.rounds, scratch)
    for name, of_tree in costs.items():
        print(_line(name, of_tree, costs[_BASE.name]))


if __name__ == "__main__":
    main()
