"""What it costs to read the header of a real model: `python -m benchmarks.gguf_header`.

The header has the tokenizer of Qwen2 (152,000 tokens and as many merges, about 6 MB). It is read as a download reads
it: 1 MiB first, then as much as it needs. The time is given as a multiple of that of hashing the same bytes, so that
machines can be compared. Memory is the rise of the high-water mark of a process of its own.
"""

import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from model_provisioner.domain.gguf.header import GGUFHeader
from model_provisioner.transfer.download.content.gguf_header import initial_read_size, read_available_header

_ROUNDS = 5


def read(path: Path) -> GGUFHeader:
    size = path.stat().st_size
    with path.open("rb") as file:

        def at(offset: int, count: int) -> bytes:
            file.seek(offset)
            return file.read(count)

        header = read_available_header(at, size, size, initial_read_size(size))
    assert isinstance(header, GGUFHeader)
    return header


def peak_bytes(path: Path) -> int:
    """By how many bytes one reading raised the high-water mark of this process's memory."""
    before = _high_water_kib()
    read(path)
    return (_high_water_kib() - before) * 1024


def _high_water_kib() -> int:
    """From /proc: the value of getrusage starts with the memory of the parent process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])


def peak_bytes_apart(path: Path) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gguf_header", "--peak", str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


def main() -> None:
    if sys.argv[1:2] == ["--peak"]:
        sys.stdout.write(f"{peak_bytes(Path(sys.argv[2]))}\n")
        return
    from tests.support.ggufs import write_gguf  # noqa: PLC0415 - imports numpy, whose memory would hide that of reading

    with tempfile.TemporaryDirectory() as directory:
        path = write_gguf(Path(directory) / "model.gguf", architecture="qwen2", size=1)
        header = path.read_bytes()[: read(path).data_offset]
        seconds = _fastest(lambda: read(path))
        hashing = _fastest(lambda: hashlib.sha256(header).digest())
        peak = peak_bytes_apart(path)
    sys.stdout.write(
        f"header {len(header) / 1e6:.1f} MB: read in {seconds:.3f} s, {seconds / hashing:.1f} times its SHA-256, "
        f"with {peak / 1024**2:.0f} MiB\n"
    )


def _fastest(work: Callable[[], object]) -> float:
    return min(_seconds(work) for _ in range(_ROUNDS))


def _seconds(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


if __name__ == "__main__":
    main()
