"""`make bench`: our downloads against those of common programs, from one hub, in one run.

Scenes run one after the other, and within a round each program in turn; the results are medians and their ratios.
`--write FILE` keeps the tables. Exits with 1 if a figure is missed, with 2 if a program is missing.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks.transfer import far, machine, scenes
from benchmarks.transfer.model import Model, model_of
from benchmarks.transfer.report import Report
from model_provisioner.domain.quantity import parse_quantity

_SMALL_SIZE = 256 * scenes.MIB
_FAR_SIZE = 64 * scenes.MIB  # the smallest file with several connections; with one it takes more than a minute
_SLOW_ROUNDS = 3  # at most, of scenes that take minutes


def main() -> int:
    options = _parser().parse_args()
    if advice := machine.advice():
        print(advice, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all started processes are stopped
    with tempfile.TemporaryDirectory(dir=options.memory, prefix="bench-") as scratch:
        report = measure(model_of(parse_quantity(options.size)), options.rounds, Path(scratch))
    if options.write:
        options.write.write_text(report.text)
    print(report.text)
    return int(report.missed)


def measure(model: Model, rounds: int, scratch: Path) -> Report:
    load, slow_rounds = machine.load(), min(rounds, _SLOW_ROUNDS)
    why = far.missing()
    return Report(
        machine=machine.description(),
        load=load,
        model=model,
        near=scenes.near(model, rounds, scratch),
        limited=scenes.limited(model, slow_rounds, scratch),
        far=why or scenes.far_away(model_of(_FAR_SIZE), slow_rounds, scratch),
        peaks=scenes.memory((model_of(_SMALL_SIZE), model), scratch),
        killed=scenes.killed(model, rounds, scratch),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__)
    parser.add_argument("--size", default="2Gi", help="of the model (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each scene (default %(default)s)")
    parser.add_argument(
        "--memory", type=Path, default=Path("/dev/shm"), metavar="DIR", help="a tmpfs (default %(default)s)"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the tables in FILE")
    return parser


sys.exit(main())
