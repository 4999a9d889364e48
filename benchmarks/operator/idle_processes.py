"""`python -m benchmarks.operator.idle_processes`: what the processes of one pod hold in memory while nothing happens.

The operator, its workers and the gateway download a few small models, so that every kind of worker has worked, and then
idle. Memory is the proportional set size (PSS, /proc/PID/smaps_rollup): a page that several processes share counts once
in a sum. Read every second, because the store worker comes and goes. Linux only. Called by `__main__`, too.
"""

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.operator.figures import Figure, table
from benchmarks.operator.stage import Stage, Watching, manifest, staged
from benchmarks.processes import proportional_mebibytes
from model_provisioner.kube.resource import collection_path
from tests.support.ggufs import tiny_gguf
from tests.support.programs import Program, descendants, free_port, running

_NAMESPACE = "rest"
_MODELS = 3
_REST_SECONDS = 75.0  # workers that have nothing to do end after a minute

Sizes = Mapping[str, float]
"""MiB by the name of a process. A number tells processes of one name apart."""


def idle_processes(stage: Stage, seconds: float) -> list[Figure]:
    """Figures of `seconds` without work, after a few downloads and the end of the workers that they needed."""
    stage.add_namespace(_NAMESPACE)
    port = free_port()
    flags = ["gateway", f"--listen=127.0.0.1:{port}", f"--kubeconfig={stage.cluster.kubeconfig}"]
    with (
        running([*flags, f"--watch-namespace={_NAMESPACE}"], stage.directory / "gateway.log") as gateway,
        stage.operator(_NAMESPACE) as operator,
    ):
        for number in range(_MODELS):
            _download(stage, f"rest-{number}")
        time.sleep(_REST_SECONDS)
        samples = list(_samples((operator.program, gateway), seconds))
        delay = _download(stage, "late")
    return [*_figures(samples), Figure("… then created → first byte asked for, of one model", delay, "s")]


def _figures(samples: Sequence[Sizes]) -> list[Figure]:
    sums = [sum(sample.values()) for sample in samples]
    names = sorted({name for sample in samples for name in sample})
    return [
        Figure("idle operator, workers and gateway: memory (PSS), median", statistics.median(sums), "MiB", 140, 110),
        Figure("… on average over the time", statistics.fmean(sums), "MiB", 140, 110),
        Figure("… the most", max(sums), "MiB"),
        *(_one(name, samples) for name in names),
    ]


def _one(name: str, samples: Sequence[Sizes]) -> Figure:
    sizes = [sample[name] for sample in samples if name in sample]
    share = 100 * len(sizes) / len(samples)
    return Figure(f"… {name}, while it runs ({share:.0f} % of the time)", statistics.median(sizes), "MiB")


def _samples(programs: Iterable[Program], seconds: float) -> Iterable[Sizes]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield sizes(programs)
        time.sleep(1)


def sizes(programs: Iterable[Program]) -> Sizes:
    """The memory of these programs and of all processes below them, now."""
    found: dict[str, float] = {}
    seen: dict[str, int] = defaultdict(int)
    for program in programs:
        for pid in (program.process.pid, *descendants(program.process.pid)):
            try:
                name, size = _name(pid), proportional_mebibytes(pid)
            except (OSError, IndexError):  # it has ended
                continue
            seen[name] += 1
            found[f"{name} {seen[name]}" if seen[name] > 1 else name] = size
    return found


def _name(pid: int) -> str:
    """The subcommand of a program, or the name that a process has given itself."""
    name = Path(f"/proc/{pid}/comm").read_text().strip()
    arguments = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return name if name.startswith("model-") else arguments[arguments.index("-m") + 2]


def _download(stage: Stage, name: str) -> float:
    """Creates an object and waits until it is Ready. Returns the seconds until the first byte of its file was asked
    for.
    """
    stage.hub.repository(f"acme/{name}").add(f"{name}.Q4_K_M.gguf", tiny_gguf())
    with Watching(stage) as watching:
        begun = time.time()
        stage.cluster.api.create(collection_path(_NAMESPACE), manifest(name, f"hf:acme/{name}"))
        watching.until_ready([name], 60)
    return min(one.time for one in stage.hub.log if one.origin == "content" and f"{name}." in one.path) - begun


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.operator.idle_processes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=130, help="of idling (default %(default)s)")
    given = parser.parse_args()
    with staged() as stage:
        figures = idle_processes(stage, given.seconds)
    print(table(figures))
    return int(any(figure.missed for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
