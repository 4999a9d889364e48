"""Small and read-only volumes: a tmpfs and a bind mount, for as long as a block runs. Called by tests.

Mounting and files of other owners need root; the tests are skipped without it.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="files of other owners and device files need root")


@contextmanager
def small_volume(directory: Path, size: int) -> Iterator[Path]:
    """A file system of `size` bytes, mounted at `directory`, which is created."""
    directory.mkdir()
    with _mounted(directory, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        yield directory


@contextmanager
def read_only(directory: Path, at: Path) -> Iterator[Path]:
    """`directory`, mounted again and read-only at `at`, which is created."""
    at.mkdir()
    with _mounted(at, "--bind", str(directory)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(at)], check=True)
        yield at


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """This process has the rights of another user, without those of root, until the block ends."""
    if os.geteuid() != 0:
        pytest.skip("acting as another user needs root")
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@contextmanager
def _mounted(directory: Path, *arguments: str) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    subprocess.run(["mount", *arguments, str(directory)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)  # a failing test may leave files open
