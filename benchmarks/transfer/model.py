"""The model that is downloaded: a valid GGUF file of a given size, made once and kept outside of the tree."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.local.binaries import cache_directory
from tests.support.ggufs import write_gguf

REPOSITORY = "bench/model"
FILE = "model-Q4_K_M.gguf"


@dataclass(frozen=True, slots=True)
class Model:
    """`size` is in bytes: the requested size and a header; `sha256` is in hex digits."""

    path: Path
    size: int
    sha256: str


def model_of(size: int) -> Model:
    """A model of `size` bytes and a header. Reads it once, so that it is in the page cache and no disk is measured."""
    path = cache_directory() / "benchmarks" / str(size) / FILE
    if not path.exists():
        _make(path, size)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Model(path, path.stat().st_size, sha256)


def _make(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        write_gguf(Path(directory) / FILE, size=size).replace(path)
