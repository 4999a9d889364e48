"""`make bench`: our downloads against those of common programs, from one hub, in one run.

Scenes run one after the other, and within a round each program in turn; a figure is the median of the rounds' ratios.
`--scene NAME` measures one of them, and may be repeated. `--write FILE` keeps the tables. Exits with 1 if a figure does
not hold, with 2 if a program is missing.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import quiet
from benchmarks.transfer import far, machine, report, scenes
from benchmarks.transfer.model import Model, model_of
from benchmarks.transfer.report import Report, Section
from model_provisioner.domain.quantity import parse_quantity

_START_SIZE = scenes.MIB
_SMALL_SIZE = 256 * scenes.MIB
_FAR_SIZE = 64 * scenes.MIB  # the smallest file with several connections; with one it takes more than a minute


@dataclass(frozen=True, slots=True)
class Setting:
    model: Model
    rounds: int
    scratch: Path


def _far(setting: Setting) -> Section:
    if why := far.missing():
        return Section("A far path", f"Not measured: {why}.\n")
    return report.far(scenes.far_away(model_of(_FAR_SIZE), setting.rounds, setting.scratch))


def _memory(setting: Setting) -> Section:
    models = dict.fromkeys((model_of(_SMALL_SIZE), setting.model))  # one, if they are the same
    return report.memory(scenes.memory([*models], setting.rounds, setting.scratch))


_SCENES: Mapping[str, Callable[[Setting], Section]] = {
    "near": lambda it: report.near(scenes.near(it.model, it.rounds, it.scratch), it.model.size),
    "small": lambda it: report.small(scenes.small(model_of(_START_SIZE), it.rounds, it.scratch)),
    "limited": lambda it: report.limited(scenes.limited(it.model, it.rounds, it.scratch)),
    "far": _far,
    "memory": _memory,
    "killed": lambda it: report.killed(scenes.killed(it.model, it.rounds, it.scratch)),
}


def main() -> int:
    options = _parser().parse_args()
    if advice := machine.advice():
        print(advice, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all started processes are stopped
    load, model = quiet.load(), model_of(parse_quantity(options.size))
    with tempfile.TemporaryDirectory(dir=options.memory, prefix="bench-") as scratch:
        setting = Setting(model, options.rounds, Path(scratch))
        sections = [_SCENES[name](setting) for name in options.scene or _SCENES]
    done = Report(machine.description(), load, model, options.rounds, sections)
    if options.write:
        options.write.write_text(done.text)
    print(done.text)
    return int(not done.holds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__)
    parser.add_argument("--scene", action="append", choices=_SCENES, help="instead of all; may be repeated")
    parser.add_argument("--size", default="2Gi", help="of the model (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="of each scene (default %(default)s)")
    parser.add_argument(
        "--memory", type=Path, default=Path("/dev/shm"), metavar="DIR", help="a tmpfs (default %(default)s)"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the tables in FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
