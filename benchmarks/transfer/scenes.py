"""The scenes of the benchmark: each runs a hub of its own and returns costs. Their limits are in `figures`.

Every scene goes round after round, and within a round through all that it compares, so that a noisy minute affects all
of it. Called by `__main__`.
"""

import compileall
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import model_provisioner
from benchmarks.transfer import far, hub, measure, programs, worker
from benchmarks.transfer.measure import Cost, Run, observed
from benchmarks.transfer.model import Model
from benchmarks.transfer.programs import Program
from benchmarks.transfer.scratch import empty, tell
from model_provisioner.transfer.store.store import Store

MIB = 1024 * 1024
CONNECTIONS = 8
"""The default limit of a transfer."""

Costs = Mapping[str, Sequence[Run | None]]
"""The run of each round, by the name of the program; None if it did not take part in that round."""

WORKER = "model-provisioner's warm worker"
INTERPRETER = "python -c pass"
_NEAR = (
    programs.OURS,
    programs.OURS_IN_ONE,
    programs.CURL,
    programs.CURL_AND_OPENSSL,
    programs.ARIA2C,
    programs.HF,
    programs.WGET,
)
_FAR = (programs.OURS, programs.CURL, programs.ARIA2C)
_SMALL = (programs.OURS, programs.CURL)
_LIMITED = (programs.OURS, programs.OURS_IN_ONE)
_SECONDS_BY_ONE = 64  # for the file over one connection, if the hub limits it
_SELDOM = 3  # a program that takes a minute takes part in every third round
_MEMORY_RATE = 16 * MIB  # of one connection, so that all allowed connections are used


@dataclass(frozen=True, slots=True)
class Peak:
    """The peak of a fresh worker's resident memory in each round; `size`, of the file, and `peaks` are in bytes."""

    size: int
    connections: int
    peaks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Resumed:
    """After `kill -9` at `at` bytes. `twice` counts the bytes that the hub sent beyond the file's size, read or not;
    `journalled_again` those of them that the journal held already.
    """

    at: int
    twice: int
    journalled_again: int


def near(model: Model, rounds: int, scratch: Path) -> Costs:
    with hub.running(model, scratch) as here:
        runs = {program.name: _run_of(program, here) for program in _NEAR}
        return in_turn("near", {**runs, WORKER: lambda directory: _by_worker(here, directory)}, rounds, scratch)


def limited(model: Model, rounds: int, scratch: Path) -> Costs:
    """A hub that gives each connection the same small rate."""
    with hub.running(model, scratch, bytes_per_connection=model.size // _SECONDS_BY_ONE) as slow:
        runs = {program.name: _run_of(program, slow) for program in _LIMITED}
        return in_turn("limited", runs, rounds, scratch, seldom={programs.OURS_IN_ONE.name})


def far_away(model: Model, rounds: int, scratch: Path) -> Costs:
    with far.running(model, scratch) as there:
        runs = {program.name: _run_of(program, there) for program in _FAR}
        return in_turn("far", runs, rounds, scratch, seldom={programs.CURL.name})


def small(model: Model, rounds: int, scratch: Path) -> Costs:
    """The program is compiled to byte code first, as in the image: without, each start may compile every module."""
    compileall.compile_dir(Path(model_provisioner.__file__).parent, quiet=2)
    with hub.running(model, scratch) as here:
        runs = {program.name: _run_of(program, here) for program in _SMALL}
        return in_turn("small", runs | {INTERPRETER: _start_interpreter}, rounds, scratch)


def _start_interpreter(_: Path) -> Cost:
    return measure.run([sys.executable, "-c", "pass"], {})


def memory(models: Sequence[Model], rounds: int, scratch: Path) -> list[Peak]:
    """One connection without a limit, then 8 and 16, each so slow that all of them are used."""
    rows = [(model, *row) for model in models for row in ((1, 0), (8, _MEMORY_RATE), (16, _MEMORY_RATE))]
    peaks = [[_peak(*row, scratch) for row in rows] for _ in range(rounds)]
    of_rows = zip(rows, zip(*peaks, strict=True), strict=True)
    return [Peak(model.size, connections, of_row) for (model, connections, _), of_row in of_rows]


def killed(model: Model, rounds: int, scratch: Path) -> list[Resumed]:
    """Downloads that are killed at `rounds` points, evenly spread over the file."""
    points = [model.size * number // (rounds + 1) for number in range(1, rounds + 1)]
    return [_killed_at(model, point, scratch) for point in points]


def _run_of(program: Program, source: hub.Hub) -> Callable[[Path], Cost]:
    return lambda directory: programs.fetch(program, source, directory)


def _by_worker(source: hub.Hub, directory: Path) -> Cost:
    with worker.running(source) as warm:
        return warm.fetch(worker.plan_of(source), directory, CONNECTIONS)


def in_turn(
    scene: str, runs: Mapping[str, Callable[[Path], Cost]], rounds: int, scratch: Path, seldom: Container[str] = ()
) -> Costs:
    """Every run gets an empty directory. Those of `seldom` take part in every third round, and in the first."""
    costs: dict[str, list[Run | None]] = {name: [] for name in runs}
    for number in range(rounds):
        for name, run in runs.items():
            takes_part = name not in seldom or number % _SELDOM == 0
            costs[name].append(_told(f"{scene} {number + 1}/{rounds}  {name}", run, scratch) if takes_part else None)
    return costs


def _told(what: str, run: Callable[[Path], Cost], scratch: Path) -> Run:
    with empty(scratch) as directory:
        done = observed(lambda: run(directory))
    cost, others = done.cost, f", others {100 * done.noise.others:.0f} % of a core" if done.noise.disturbed else ""
    tell(f"{what}: {cost.wall:.2f} s, {cost.cpu:.2f} s CPU, {cost.peak // MIB} MiB{others}")
    return done


def _peak(model: Model, connections: int, rate: int, scratch: Path) -> int:
    with (
        hub.running(model, scratch, bytes_per_connection=rate) as source,
        worker.running(source) as fresh,
        empty(scratch) as directory,
    ):
        peak = fresh.fetch(worker.plan_of(source), directory, connections).peak
    tell(f"memory  {model.size // MIB} MiB over {connections}: {peak / MIB:.1f} MiB")
    return peak


def _killed_at(model: Model, point: int, scratch: Path) -> Resumed:
    with hub.running(model, scratch, exact=True) as source, empty(scratch) as directory:
        plan = worker.plan_of(source)
        with worker.running(source) as first:
            first.fetch_until_killed(plan, directory, CONNECTIONS, point)
        with Store.open(directory, None) as store:
            durable = store.files.durable_bytes(plan)
        sent_before = source.content_bytes_sent()
        with worker.running(source) as second:
            second.fetch(plan, directory, CONNECTIONS)
        sent = source.content_bytes_sent()
    again = max(0, sent - sent_before - (model.size - durable))
    tell(f"killed at {point // MIB} MiB: {(sent - model.size) / MIB:.1f} MiB sent twice")
    return Resumed(point, sent - model.size, again)
