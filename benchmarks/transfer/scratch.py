"""An empty directory for each run, and the lines that tell how far a measurement is. Called by all scenes."""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def empty(scratch: Path) -> Iterator[Path]:
    """A directory in `scratch`, which is deleted with what is in it."""
    directory = Path(tempfile.mkdtemp(dir=scratch))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
