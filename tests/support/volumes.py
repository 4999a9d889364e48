"""Volumes that misbehave: real mounts of this machine, for tests that run as root.

A full volume is a small tmpfs, a read-only one a bind mount; both are gone when the block ends.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_volume(directory: Path, size: int) -> Iterator[Path]:
    """A file system of `size` bytes, mounted at `directory`, which is made."""
    directory.mkdir()
    with _mounted(directory, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        yield directory


@contextmanager
def read_only(directory: Path, at: Path) -> Iterator[Path]:
    """The content of `directory` once more at `at`, which is made, where nobody can write it."""
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
