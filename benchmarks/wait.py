"""How soon `model-provisioner wait` sees a published file, and what it costs: `python -m benchmarks.wait`.

Each round starts the program on an empty directory, publishes the file by a rename at a random moment, and takes the
time until the program has ended. Memory is the high-water mark of a process whose modules are compiled, as in the
image. Times are only right on a machine that does nothing else.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = "hf/owner/repo/model.gguf"
FLAGS: Mapping[str, tuple[str, ...]] = {
    "--path": (f"--path={FILE}",),
    "--ref": ("--ref=hf:owner/repo:model.gguf",),
    "--name": ("--name=tiny",),
}
_IDLE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Cost:
    """`peak_kib` is the most memory, `cpu_seconds` what an hour of waiting takes."""

    peak_kib: int
    cpu_seconds: float


class Bench:
    """Starts the program on the volume and the catalog below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.models = directory / "models"
        self._environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        self._environment["PYTHONPYCACHEPREFIX"] = str(directory / "compiled")

    def prepare(self) -> None:
        (self.models / FILE).parent.mkdir(parents=True)
        (self._directory / "catalog").mkdir()
        entry = {"path": FILE, "files": [{"path": FILE}]}
        (self._directory / "catalog" / "tiny.json").write_text(json.dumps(entry))
        for flags in FLAGS.values():  # compiles the modules
            assert self._start(*flags, "--timeout=0").wait() == 1

    def seconds_to_see(self, flags: tuple[str, ...], after: float) -> float:
        """From the rename, `after` seconds after the first line of the program, to its end."""
        process = self._start(*flags)
        assert process.stdout
        process.stdout.readline()
        time.sleep(after)
        unfinished = self.models / "unfinished"
        unfinished.write_bytes(b"GGUF")
        unfinished.rename(self.models / FILE)
        published = time.monotonic()
        assert process.wait(timeout=60) == 0
        seen = time.monotonic() - published
        process.stdout.close()
        (self.models / FILE).unlink()
        return seen

    def cost(self, flags: tuple[str, ...], idle: float = _IDLE_SECONDS) -> Cost:
        """Of a process that waits in vain for `idle` seconds."""
        process = self._start(*flags)
        assert process.stdout
        process.stdout.readline()
        before = _cpu_seconds(process.pid)
        time.sleep(idle)
        used = _cpu_seconds(process.pid) - before
        peak = peak_kib(process.pid)
        process.terminate()
        assert process.wait(timeout=60) == 143
        process.stdout.close()
        return Cost(peak, used * 3600 / idle)

    def _start(self, *flags: str) -> "subprocess.Popen[bytes]":
        mounts = [f"--models={self.models}", f"--catalog={self._directory / 'catalog'}"]
        command = [sys.executable, "-m", "model_provisioner.cli", "wait", *mounts, *flags]
        return subprocess.Popen(command, stdout=subprocess.PIPE, env=self._environment)


def peak_kib(pid: int) -> int:
    """The high-water mark of the memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def _cpu_seconds(pid: int) -> float:
    """Of all threads, from the scheduler, which counts in nanoseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        bench.prepare()
        for name, flags in FLAGS.items():
            seen = [bench.seconds_to_see(flags, random.uniform(0, 1)) for _ in range(rounds)]
            cost = bench.cost(flags)
            print(
                f"{name}: seen after {statistics.median(seen):.2f} s (median), {max(seen):.2f} s (most of {rounds}); "
                f"{cost.peak_kib / 1024:.1f} MiB; {cost.cpu_seconds:.1f} CPU seconds in an hour"
            )


if __name__ == "__main__":
    main()
