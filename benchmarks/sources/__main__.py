"""`make bench-sources`: a verified download from each source against curl and openssl, in one run.

`--scene NAME` measures one scene, `--source NAME` one source; both may be repeated. `--write FILE` keeps the tables.
Exits with 1 if a figure does not hold, with 2 if a program is missing.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import quiet
from benchmarks.sources import scenes, servers
from benchmarks.sources.report import Results
from benchmarks.sources.scenes import Resumed
from benchmarks.sources.servers import Servers
from benchmarks.transfer import machine
from benchmarks.transfer.model import model_of
from benchmarks.transfer.scenes import Costs
from model_provisioner.domain.quantity import parse_quantity
from tests.support.tools import TOOLS

_SOURCES = ("hf", "https", "modelscope", "ollama", "s3", "oci")
_SCENES = ("fast", "killed", "expiring")
_SERVERS = ("docker-registry", "versitygw")


def main() -> int:
    options = _parser().parse_args()
    missing = [name for name in _SERVERS if TOOLS[name].find() is None]
    advice = f"missing: {', '.join(missing)}: python -m tests.support.tools" if missing else machine.advice()
    if advice:
        print(advice, file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all started processes are stopped
    load, model = quiet.load(), model_of(parse_quantity(options.size))
    chosen, names = options.scene or _SCENES, options.source or _SOURCES
    with (
        tempfile.TemporaryDirectory(dir=options.memory, prefix="bench-") as scratch,
        servers.running(model, Path(scratch)) as found,
    ):
        costs = _fast(found, names, options.rounds) if "fast" in chosen else {}
        resumed = _killed(found, names, options.kills) if "killed" in chosen else {}
        expired = scenes.expiring(found) if "expiring" in chosen else []
        served = {one.name: one.server for one in found.origins if one.name in names}
    done = Results(machine.description(), load, model, served, costs, resumed, expired)
    if options.write:
        options.write.write_text(done.text)
    print(done.text)
    return int(not done.holds)


def _fast(found: Servers, names: Sequence[str], rounds: int) -> Costs:
    return scenes.fast(found, [one for one in found.origins if one.name in names], rounds)


def _killed(found: Servers, names: Sequence[str], rounds: int) -> Mapping[str, Sequence[Resumed]]:
    with found.counted() as origins:
        chosen = [one for one in origins if one.name in names]
        return {one.name: [scenes.killed(found, one) for _ in range(rounds)] for one in chosen}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sources", description=__doc__)
    parser.add_argument("--scene", action="append", choices=_SCENES, help="instead of all; may be repeated")
    parser.add_argument("--source", action="append", choices=_SOURCES, help="instead of all; may be repeated")
    parser.add_argument("--size", default="2Gi", help="of the model (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of the downloads (default %(default)s)")
    parser.add_argument("--kills", type=int, default=3, help="of each source (default %(default)s)")
    parser.add_argument(
        "--memory", type=Path, default=Path("/dev/shm"), metavar="DIR", help="a tmpfs (default %(default)s)"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the tables in FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
