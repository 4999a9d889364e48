"""Random changes and failures in any order: after them, a real operator brings all objects to their goal.

A random walk, whose seed is printed: objects are applied, edited, paused, deleted; files are touched and lost; the
operator, its workers and the hub fail. `make faults` walks ten times as far.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from tests.faults.campaign import LONG, randomness, say
from tests.support.ggufs import tiny_gguf
from tests.support.hub.faults import Where
from tests.support.kubelet import Kubelet
from tests.support.programs import eventually
from tests.support.stand import Document, Stand

MIB = 1024**2
STEPS = 400 if LONG else 40
LONGEST_PAUSE_SECONDS = 0.8
WITHIN_SECONDS = 20.0 if LONG else 60.0  # the promise is 10, on a machine that does nothing else
NAMES = [f"object-{number}" for number in range(6)]
CONTENT = {f"hf:acme/{name}": tiny_gguf(size=3 * MIB, seed=seed) for seed, name in enumerate(("one", "two", "three"))}
PLACES: list[Where] = ["api", "content", "resolve"]
NOWHERE = "hf:acme/nowhere"
RECONCILE_AT = "models.rbee.dev/reconcileAt"

T = TypeVar("T")


@dataclass
class Walk:
    """`specs` maps the name of each object to the spec that users want now."""

    bench: Stand
    kubelet: Kubelet
    random: random.Random
    specs: dict[str, Document] = field(default_factory=dict)

    def step(self) -> None:
        if not self.specs or self.random.random() < 0.5:
            action = self._one_of(self._anywhere)
            say(f"{time.strftime('%T')} {action.__name__}")
            action()
        else:
            name, change = self.random.choice(sorted(self.specs)), self._one_of(self._of_an_object)
            say(f"{time.strftime('%T')} {change.__name__} {name}")
            change(name)

    @property
    def _anywhere(self) -> dict[Callable[[], None], int]:
        machines = {self.kill: 1, self.end: 1, self.kill_a_worker: 1, self.fail: 2, self.reset: 1, self.go_down: 1}
        return {self.apply: 7} | machines

    @property
    def _of_an_object(self) -> dict[Callable[[str], None], int]:
        return {self.toggle: 4, self.edit: 3, self.correct: 2, self.delete: 4, self.touch: 1, self.lose: 2}

    def _one_of(self, weights: dict[T, int]) -> T:
        return self.random.choices(list(weights), list(weights.values()))[0]

    def apply(self) -> None:
        """Every object has the policy Delete, so that a file that remains at the end belongs to no object."""
        free = sorted(name for name in NAMES if name not in self.specs and not self.bench.exists(name))
        if free:
            name, ref = self.random.choice(free), self.random.choice([*CONTENT, *CONTENT, NOWHERE])
            self.specs[name] = {"modelRef": ref, "reclaimPolicy": "Delete", "suspend": self.random.random() < 0.2}
            self.bench.apply(name, **self.specs[name])

    def toggle(self, name: str) -> None:
        self._patch(name, {"suspend": not self.specs[name]["suspend"]})

    def edit(self, name: str) -> None:
        limits = {"maxBytesPerSecond": self.random.choice([None, "2Mi"]), "connections": self.random.randint(1, 16)}
        self._patch(name, limits | {"priority": self.random.randint(0, 3)})

    def correct(self, name: str) -> None:
        if self.specs[name]["modelRef"] == NOWHERE:
            self._patch(name, {"modelRef": self.random.choice(list(CONTENT))})

    def delete(self, name: str) -> None:
        del self.specs[name]
        self.bench.delete(name)

    def touch(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.utime(self.bench.volume / self._path(name))

    def lose(self, name: str) -> None:
        """Deletes the file and annotates all objects that hold it. Without that, it would take a minute to notice."""
        (self.bench.volume / self._path(name)).unlink(missing_ok=True)
        for other in sorted(self.specs):
            if self._path(other) == self._path(name):
                self.bench.patch(other, annotations={RECONCILE_AT: str(self.random.random())})

    def kill(self) -> None:
        self.kubelet.operator.process.kill()

    def end(self) -> None:
        self.kubelet.operator.process.send_signal(signal.SIGTERM)

    def kill_a_worker(self) -> None:
        with suppress(OSError):  # the worker has just ended, and perhaps the operator
            if workers := self.kubelet.operator.children():
                os.kill(self.random.choice(workers), signal.SIGKILL)

    def fail(self) -> None:
        status, where = self.random.choice([429, 503]), self.random.choice(PLACES)
        self.bench.hub.fail(status, times=2, where=where, headers={"Retry-After": "1"})

    def reset(self) -> None:
        self.bench.hub.reset_after(self.random.randrange(3 * MIB))

    def go_down(self) -> None:
        self.bench.hub.down()
        time.sleep(self.random.random())
        self.bench.hub.up()

    def until_as_it_should_be(self) -> None:
        try:
            eventually(self._is_as_it_should_be, "all is as it should be", WITHIN_SECONDS)
        except AssertionError as late:
            found = [(name, spec, self.bench.ready(name)) for name, spec in self.specs.items()]
            raise AssertionError(f"{late}: {found}\n{self.bench.operator_output()[-6000:]}") from None

    def _is_as_it_should_be(self) -> bool:
        return all(self._is_settled(name) for name in self.specs) and not any(
            self.bench.exists(name) for name in NAMES if name not in self.specs
        )

    def check(self) -> None:
        """Compares the volume and the catalog with the objects."""
        ready = {name for name in self.specs if self.bench.ready(name)["status"] == "True"}
        for name in ready:
            content = (self.bench.volume / self._path(name)).read_bytes()
            assert content == CONTENT[self.specs[name]["modelRef"]], name
        eventually(lambda: self._catalogued() == ready, f"{ready} are in the catalog, and what was lost is not")
        assert set(self.bench.published()) <= {self._path(name) for name in self.specs}

    def _catalogued(self) -> set[str]:
        return {key.removesuffix(".path") for key in self.bench.catalog() if key.endswith(".path")}

    def _is_settled(self, name: str) -> bool:
        found, spec = self.bench.get(name), self.specs[name]
        observed = found["status"]["observedGeneration"] == found["metadata"]["generation"]
        reason = self.bench.ready(name).get("reason")
        if spec["modelRef"] == NOWHERE:
            return bool(observed and reason == "SourceNotFound")
        ready = reason == "Available" and (self.bench.volume / self._path(name)).exists()
        return bool(observed and (ready or (spec["suspend"] and reason == "Suspended")))

    def _patch(self, name: str, spec: Document) -> None:
        self.specs[name] |= spec
        self.bench.patch(name, spec)

    def _path(self, name: str) -> str:
        repository = self.specs[name]["modelRef"].removeprefix("hf:")
        return f"hf/{repository}/m.Q4_K_M.gguf"


def test_after_any_walk_everything_is_as_it_should_be(bench: Stand) -> None:
    for ref, content in CONTENT.items():
        bench.hub.repository(ref.removeprefix("hf:")).add("m.Q4_K_M.gguf", content)
    bench.hub.bytes_per_second(3 * MIB)
    drawn = randomness()
    with Kubelet(bench, "--slots=2") as kubelet:
        walk = Walk(bench, kubelet, drawn)
        for _ in range(STEPS):
            walk.step()
            time.sleep(drawn.random() * LONGEST_PAUSE_SECONDS)  # the pauses are part of the walk
        bench.hub.clear_faults()
        bench.hub.bytes_per_second(None)
        bench.history.most_events += STEPS // len(NAMES)  # a state that is caused again is reported again
        begun = time.monotonic()
        walk.until_as_it_should_be()
        say(f"{STEPS} steps, {len(kubelet.exits)} restarts: as it should be after {time.monotonic() - begun:.1f} s")
        walk.check()
        assert set(kubelet.exits) <= {0, -signal.SIGKILL, -signal.SIGTERM}
        for name in walk.specs:
            bench.delete(name)
        for name in walk.specs:
            bench.until_gone(name)
        assert bench.catalog() == {}
        assert bench.left_behind() == []
