"""`make bench-gateway`: what the gateway costs, and how soon clients receive a change.

On a machine of two cores: 2,000 clients that watch 10 downloads of 2 status patches a second each, and 50 clients that
never read; clients that connect and leave 50,000 times; single calls with 1,000 ready models; then, with a new gateway
and 1,500 active downloads, 1,000 clients that never read, and the first scene again. A 0 leaves out what it counts.
Prints a table of bounds; exits with 1 if a figure exceeds its bound. `--write FILE` keeps the table. Other load on the
machine adds to the lag: `echo -10 > /proc/self/autogroup` (Linux, root) gives this shell a higher priority.
"""

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from http.client import HTTPConnection
from pathlib import Path

from benchmarks import quiet
from benchmarks.gateway_clients import SEQUENCES
from benchmarks.gateway_stage import ACCOUNTS, Stage, staged

DOWNLOADS = 10
PATCH_SECONDS = 0.5
WINDOW_SECONDS = 10.0  # of the lags' spread
SILENT_SECONDS = 45.0  # the gateway cuts clients that do not read after 30


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table; `most` is the upper bound, None if the figure has none."""

    name: str
    value: float
    unit: str
    most: float | None = None

    @property
    def holds(self) -> bool:
        return self.most is None or self.value <= self.most

    def __str__(self) -> str:
        bound = "" if self.most is None else f"≤ {self.most:g} {self.unit}"
        return f"| {self.name} | {self.value:.4g} {self.unit} | {bound} | {'yes' if self.holds else '**NO**'} |"


@dataclass(frozen=True, slots=True)
class Patch:
    """Before a status was sent, and after the API server had answered, in seconds of the monotonic clock."""

    sent: float
    answered: float


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--deaf", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--churn", type=int, default=50_000)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--active", type=int, default=1500, help="downloads of the crowded scenes")
    parser.add_argument("--silent", type=int, default=1000, help="clients that never read, with these downloads")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    load = quiet.load()
    with quiet.watched() as noises:
        figures = _figures(given)
    table = _table(figures, given, quiet.sentence(load, noises, "five-second window"))
    print(table)
    if given.write:
        given.write.write_text(table)
    return 0 if all(figure.holds for figure in figures) else 1


def _figures(given: argparse.Namespace) -> list[Figure]:
    cores = sorted(os.sched_getaffinity(0))
    core, rest = cores[0], {*cores[1:]} or {cores[0]}
    figures: list[Figure] = []
    with staged(core, rest) as stage:
        if given.clients:
            figures += watching(stage, given.clients, given.deaf, given.seconds)
        if given.churn:
            figures += leaving(stage, given.churn)
        if given.models:
            figures += answering(stage, given.models)
    if given.active:
        with staged(core, rest) as stage:
            figures += crowded(stage, given)
    return figures


def watching(stage: Stage, clients: int, deaf: int, seconds: float) -> list[Figure]:
    """The lag of clients: from before a status patch is sent until a client has read it."""
    for number in range(DOWNLOADS):
        stage.create(f"bench-{number}", f"hf:acme/bench-{number}")
        stage.tell(f"bench-{number}", "Downloading", 0)
    stage.forget_peak()
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(DOWNLOADS) as pool:
        to = Path(directory) / "seen"
        options = ["listen", f"--clients={clients}", f"--deaf={deaf}", f"--seconds={seconds}", f"--to={to}"]
        connecting = time.monotonic()
        with _clients(stage, options) as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            before, begun = stage.cpu(), time.monotonic()
            stop = threading.Event()
            patching = [pool.submit(_patch, stage, number, stop) for number in range(DOWNLOADS)]
            told = json.loads(process.stdout.readline())
            cut = told["cut"]
            elapsed = time.monotonic() - begun
            open_streams = stage.metric("streams")
            spent, reviews = stage.cpu() - before, stage.metric("access_reviews_total")
            minutes = (time.monotonic() - connecting) / 60
            stop.set()
            patches = {state: patch for future in patching for state, patch in future.result().items()}
        windows = _lags(to, {state: patch.sent for state, patch in patches.items()}, begun)
        lags = sorted(itertools.chain.from_iterable(windows))
        own = sorted(patch.answered - patch.sent for patch in patches.values())
    return [
        Figure("lag from patch to client, median", lags[len(lags) // 2], "s"),
        Figure("lag from patch to client, p99", _p99(lags), "s", 1.0),
        Figure(f"… p99 of the worst {WINDOW_SECONDS:g} seconds", max(map(_p99, map(sorted, windows))), "s"),
        Figure(f"… p99 of the best {WINDOW_SECONDS:g} seconds", min(map(_p99, map(sorted, windows))), "s"),
        Figure("lag from patch to client, longest", lags[-1], "s"),
        Figure("… of which the API server takes for the patch, median", own[len(own) // 2], "s"),
        Figure("… of which the API server takes for the patch, p99", _p99(own), "s"),
        Figure("states seen", len(lags), ""),
        Figure("patches a second", len(patches) / elapsed, ""),
        Figure("most memory", stage.memory("VmHWM"), "MiB", 200),
        Figure("share of one core", 100 * spent / elapsed, "%", 100),
        Figure("… and of the clients' core, for the clients", 100 * told["cpu"] / elapsed, "%"),
        Figure("access reviews a minute", reviews / minutes, "", 100),
        Figure("clients that read and were cut", cut, "", 0),
        Figure("clients that never read and are still there", open_streams - (clients - cut), "", 0),
    ]


def crowded(stage: Stage, given: argparse.Namespace) -> list[Figure]:
    """The same clients, and many that never read, beside other downloads, which are active: each snapshot has them."""
    _in_eight(lambda number: _make_active(stage, f"other-{number}"), given.active)
    figures = []
    if given.silent:
        most = _silent(stage, given.silent)
        figures.append(Figure(f"most memory, only {given.silent} clients that never read", most, "MiB", 200))
    if given.clients:
        figures += watching(stage, given.clients, given.deaf, given.seconds)
    return [replace(figure, name=f"{given.active} more active downloads: {figure.name}") for figure in figures]


def _silent(stage: Stage, clients: int) -> float:
    """The peak of the gateway's memory in MiB while they are connected, until they are cut."""
    stage.forget_peak()
    with _clients(stage, ["listen", "--clients=0", f"--deaf={clients}", f"--seconds={SILENT_SECONDS}"]) as process:
        assert process.wait() == 0
    _until_quiet(stage)
    return stage.memory("VmHWM")


def leaving(stage: Stage, times: int) -> list[Figure]:
    """Clients that connect, read the snapshot and leave. The first tenth is not measured."""
    _churn(stage, times // 10)
    _until_quiet(stage)
    memory, descriptors, tasks = stage.memory(), stage.descriptors(), stage.metric("tasks")
    begun, before = time.monotonic(), stage.cpu()
    _churn(stage, times - times // 10)
    elapsed, spent = time.monotonic() - begun, stage.cpu() - before
    _until_quiet(stage)
    return [
        Figure("connections that came and went", times, ""),
        Figure("… a second", (times - times // 10) / elapsed, ""),
        Figure("… processor time of one", 1000 * spent / (times - times // 10), "ms"),
        Figure("memory more after them", stage.memory() - memory, "MiB", 5),
        Figure("descriptors more", stage.descriptors() - descriptors, "", 0),
        Figure("tasks more", stage.metric("tasks") - tasks, "", 0),
    ]


def answering(stage: Stage, models: int) -> list[Figure]:
    """Single calls, one after the other, over one connection."""
    _in_eight(lambda number: _make_ready(stage, f"ready-{number}"), models)
    figures = []
    time.sleep(2)
    with closing(HTTPConnection("127.0.0.1", stage.port)) as connection:
        call = partial(_call, connection, stage.tokens[0])
        known = len(json.loads(call("/v1/models"))["models"])
        assert known == models, f"{known} of {models} models are known"
        for name, path in (
            ("find one of them", f"/v1/models/local?model_ref=hf:acme/ready-{models - 1}"),
            ("find it by its quantisation", f"/v1/models/local?model_ref=hf:acme/ready-{models - 1}:Q4_K_M"),
            ("list 100 of them", "/v1/models?limit=100"),
            ("list them all", "/v1/models"),
            ("list active downloads", "/v1/models/downloads"),
        ):
            times = sorted(_timed(call, path) for _ in range(300))
            figures.append(Figure(f"{models} ready models: {name}, median", 1000 * times[150], "ms", 5))
            figures.append(Figure(f"{models} ready models: {name}, p99", 1000 * times[297], "ms"))
    return figures


def _patch(stage: Stage, number: int, stop: threading.Event) -> dict[int, Patch]:
    """Writes the next state of a download whenever it is due. Returns the patches by state."""
    patches: dict[int, Patch] = {}
    due = time.monotonic() + PATCH_SECONDS * number / DOWNLOADS
    while not stop.wait(max(0.0, due - time.monotonic())):
        sequence, sent = len(patches) + 1, time.monotonic()
        stage.tell(f"bench-{number}", "Downloading", sequence)
        patches[number * SEQUENCES + sequence] = Patch(sent, time.monotonic())
        due += PATCH_SECONDS
    return patches


def _lags(seen: Path, sent: dict[int, float], begun: float) -> "list[array[float]]":
    """The lags of the patches of each window since `begun`, in the order of the windows."""
    size = seen.stat().st_size // 16
    states, times = array("Q"), array("d")
    with seen.open("rb") as file:
        states.fromfile(file, size)
        times.fromfile(file, size)
    windows: defaultdict[int, array[float]] = defaultdict(lambda: array("d"))
    for state, when in zip(states, times, strict=True):
        windows[int((sent[state] - begun) // WINDOW_SECONDS)].append(when - sent[state])
    return [windows[number] for number in sorted(windows)]


def _p99(ascending: Sequence[float]) -> float:
    return ascending[len(ascending) * 99 // 100]


def _in_eight(make: Callable[[int], None], times: int) -> None:
    """Calls `make` with 0, 1, …, in eight threads."""
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(make, range(times)):
            pass


def _make_active(stage: Stage, name: str) -> None:
    stage.create(name, f"hf:acme/{name}")
    stage.tell(name, "Downloading", 1)


def _make_ready(stage: Stage, name: str) -> None:
    stage.create(name, f"hf:acme/{name}")
    stage.tell(name, "Available", 1_000_000)


def _call(connection: HTTPConnection, token: str, path: str) -> bytes:
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    assert answer.status == 200
    return answer.read()


def _timed(call: Callable[[str], bytes], path: str) -> float:
    begun = time.perf_counter()
    call(path)
    return time.perf_counter() - begun


def _churn(stage: Stage, times: int) -> None:
    with _clients(stage, ["churn", "--clients=50", f"--times={times}"]) as process:
        assert process.wait() == 0


def _until_quiet(stage: Stage) -> None:
    deadline = time.monotonic() + 60
    while stage.metric("streams") and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1)


@contextmanager
def _clients(stage: Stage, options: list[str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.gateway_clients", *options, f"--port={stage.port}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin
            json.dump(stage.tokens, process.stdin)
            process.stdin.close()
            yield process
        finally:
            if process.poll() is None:
                process.wait(120)


def _table(figures: list[Figure], given: argparse.Namespace, noise: str) -> str:
    lines = [
        "# What the gateway costs",
        "",
        f"Written by `make bench-gateway`: {given.clients} clients, {DOWNLOADS} downloads at",
        f"{1 / PATCH_SECONDS:g} status patches a second for {given.seconds:g} s, {given.deaf} clients that never read,",
        f"{ACCOUNTS} accounts;",
        "the gateway alone on one core, the clients, kube-apiserver and etcd on the other ones.",
        f"{len(os.sched_getaffinity(0)) + 1} cores, {platform.machine()}, Python {platform.python_version()}.",
        "",
        noise,
        "",
        "| figure | measured | must hold | holds |",
        "|---|---|---|---|",
        *map(str, figures),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
