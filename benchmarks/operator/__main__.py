"""`make bench-operator`: what the operator costs the API server and the machine, and how soon it acts.

A thousand small models at once, one small model after the other, applies of a large catalog, and ten thousand models
that are Ready; `--scene` names those that run, if not all. `--write FILE` keeps the tables; `--quick` takes a minute
and gives a first impression. Exits with 1 if a figure is missed. Other load on the machine adds to the times:
`echo -15 > /proc/self/autogroup` (Linux, root) gives this shell a higher priority.
"""

import argparse
import importlib.metadata
import os
import platform
import signal
import sys
from collections import Counter
from pathlib import Path

from benchmarks import quiet
from benchmarks.operator.applies import applies
from benchmarks.operator.figures import Figure, table
from benchmarks.operator.idle import idle, namespaces
from benchmarks.operator.idle_processes import idle_processes
from benchmarks.operator.many import many, soon
from benchmarks.operator.stage import staged

_APPLIES = 40
_SCENES = ("many", "soon", "applies", "idle")
_TEXT = """# What the operator costs

Written by `make bench-operator`, on a real kube-apiserver and etcd, with a hub on loopback and volumes in memory.

{figures}

{machine} Everything ran on
the same cores: the API server, etcd, the hub, what creates the objects and what measures.

{noise}

Writes are counted by the API server (`apiserver_request_total`): everything the operator writes, its Lease too, and
not the requests that create the objects. CPU time is user and system. Memory is the high-water mark of resident memory
(VmHWM); in a sum over processes, shared pages count for each. An object is created by a POST, and Ready when a watch
tells so.

All the time the operator was scraped every 15 s and probed every 5 s (`/readyz`) and 10 s (`/healthz`), as in a cluster
with the chart's defaults.

The {idle} Ready objects are spread over {namespaces} namespaces, each with a volume and a store of its own. Each object
is as the operator leaves one: a ref, a path and a name of usual length, one file with size and digest, the summary of
a GGUF header, its conditions, a finalizer, the annotation that `kubectl apply` leaves. The files are sparse.

The times of single models are those of models that come alone: between two there is more than a second, so that each is
the first of its second and its entry in the catalog is applied at once. Of many, those that come within a second of the
last apply wait for the next one, which is theirs together.

## Writes, by kind

{writes}
"""


def main() -> int:
    given = _parser().parse_args()
    given.scene = given.scene or _SCENES
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all started processes are stopped
    load = quiet.load()
    with quiet.watched() as noises:
        figures, writes = _measured(given)
    text = _TEXT.format(
        figures=table(figures),
        machine=_machine(),
        noise=quiet.sentence(load, noises, "five-second window"),
        idle=given.idle,
        namespaces=namespaces(given.idle),
        writes=_by_kind(writes, given.objects),
    )
    print(text)
    if given.write:
        given.write.write_text(text)
    return int(any(figure.missed for figure in figures))


def _measured(given: argparse.Namespace) -> tuple[list[Figure], Counter[str]]:
    """The figures of all scenes, and the writes of the first by kind."""
    figures: list[Figure] = []
    writes: Counter[str] = Counter()
    if "many" in given.scene and given.objects:
        with staged() as stage:
            found, writes = many(stage, given.objects)
            figures += found
    if "soon" in given.scene and given.rounds:
        with staged() as stage:
            figures += soon(stage, given.rounds)
    if "applies" in given.scene and given.models:
        with staged() as stage:
            figures += applies(stage, given.models, _APPLIES)
    if "idle" in given.scene and given.idle:
        with staged() as stage:
            figures += idle(stage, given.idle, given.seconds)
    if given.idle and not given.quick:
        with staged() as stage:
            figures += idle_processes(stage, given.seconds)
    return figures, writes


def _parser() -> argparse.ArgumentParser:
    quick = "--quick" in sys.argv
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operator", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller numbers, for a first look")
    parser.add_argument("--scene", action="append", choices=_SCENES, help="only this one; repeatable")
    parser.add_argument("--objects", type=int, default=50 if quick else 1000, help="at once (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3 if quick else 25, help="one by one (default %(default)s)")
    parser.add_argument("--models", type=int, default=800, help="in one catalog (default %(default)s)")
    parser.add_argument("--idle", type=int, default=200 if quick else 10_000, help="Ready ones (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=10 if quick else 75, help="of idling (default %(default)s)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep the tables in FILE")
    return parser


def _by_kind(writes: Counter[str], objects: int) -> str:
    rows = (f"| {kind} | {number} | {number / objects:.2f} |" for kind, number in writes.most_common())
    return "\n".join(["| request | number | per download |", "|---|---|---|", *rows])


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("kopf", "aiohttp", "kubernetes"))
    return (
        f"Measured on {os.cpu_count()} cores, {platform.machine()}, {memory:.0f} GiB of memory, "
        f"Python {platform.python_version()}, {libraries}."
    )


sys.exit(main())
