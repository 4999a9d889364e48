"""Small, read-only and shared volumes, for as long as a block runs, and processes of other users. Called by tests.

Mounting, acting as another user and files of other owners need root; the tests are skipped without it.
"""

import os
import subprocess
import tempfile
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
def shared_volume(owner: int, group: int) -> Iterator[Path]:
    """A directory as Kubernetes mounts a volume with `fsGroup`: `group` may write. Every user may reach it."""
    if os.geteuid() != 0:
        pytest.skip("a directory of another user needs root")
    with tempfile.TemporaryDirectory() as parent:
        directory = Path(parent) / "volume"
        directory.mkdir()
        Path(parent).chmod(0o755)
        os.chown(directory, owner, group)
        directory.chmod(0o2775)
        yield directory


def run_as(uid: int, group: int, script: str, *arguments: str | Path) -> bool:
    """Runs a shell script in a process of another user. Returns whether it succeeded."""
    command = ["sh", "-ec", script, "sh", *map(str, arguments)]
    done = subprocess.run(command, user=uid, group=group, extra_groups=[], capture_output=True, check=False, timeout=60)
    return done.returncode == 0


@contextmanager
def acting_as(uid: int, gid: int | None = None) -> Iterator[None]:
    """This process has the rights of another user, without those of root, until the block ends.

    `gid` is the user's group; None means one with the number of the user.
    """
    if os.geteuid() != 0:
        pytest.skip("acting as another user needs root")
    os.setegid(uid if gid is None else gid)
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
