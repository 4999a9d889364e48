"""`make bench-workers`: what worker pods cost the API server and the operator, and what a restart and a loss cost.

50, 100 and 200 models on claims that the operator does not mount; a restart of the operator with 50 pods at half; pods
that are lost at half. `--scene` names those that run, if not all. `--write FILE` keeps the page; `--quick` takes less
than two minutes and gives a first impression. Exits with 1 if a figure is missed.
"""

import argparse
import signal
import sys
from pathlib import Path

from benchmarks import quiet
from benchmarks.operator.stage import staged
from benchmarks.workers.lost import lost
from benchmarks.workers.report import Report, machine
from benchmarks.workers.restart import restart
from benchmarks.workers.scale import scale
from benchmarks.workers.stage import RELEASE

_SCENES = ("scale", "restart", "lost")


def main() -> int:
    given = _parser().parse_args()
    given.scene = given.scene or _SCENES
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all started processes are stopped
    load = quiet.load()
    with quiet.watched() as noises:
        report = _measured(given)
    text = report.text(machine(), quiet.sentence(load, noises, "five-second window"))
    print(text)
    if given.write:
        given.write.write_text(text)
    return int(any(figure.missed for figure in report.figures))


def _measured(given: argparse.Namespace) -> Report:
    with staged() as stage:
        stage.cluster.create_namespace(RELEASE)
        return Report(
            [scale(stage, count) for count in given.objects or given.usual] if "scale" in given.scene else [],
            restart(stage, given.pods) if "restart" in given.scene else None,
            lost(stage, given.rounds) if "lost" in given.scene else [],
        )


def _parser() -> argparse.ArgumentParser:
    quick = "--quick" in sys.argv
    usual = [20] if quick else [50, 100, 200]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.set_defaults(usual=usual)
    parser.add_argument("--quick", action="store_true", help="smaller numbers, for a first look")
    parser.add_argument("--scene", action="append", choices=_SCENES, help="only this one; repeatable")
    parser.add_argument(
        "--objects", type=int, action="append", help=f"at once; repeatable (default {', '.join(map(str, usual))})"
    )
    parser.add_argument(
        "--pods", type=int, default=10 if quick else 50, help="at the restart of the operator (default %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=1 if quick else 3, help="pods lost in each way (default %(default)s)"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the page in FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
