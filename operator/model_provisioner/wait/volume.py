"""Looks whether files are on the mounted volume. `command` makes the look that `waiting` repeats.

A model is published by one rename, so a file at its final path is complete and verified: nothing is opened or hashed.
"""

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress

from model_provisioner.wait.sight import ExitCode, Missing, Sight, There, Unreadable

MAX_PATH_BYTES = 3840
"""As `domain.store.paths` allows it. That module is not imported because hashlib takes 4 MiB."""
_MAX_PART_BYTES = 255
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR})


def checked_path(path: str) -> str:
    """`path` if it stays below the directory that it is joined to. Raises ValueError with a message for users."""
    try:
        parts = os.fsencode(path).split(b"/")
        path.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{shown(path)} is not UTF-8") from None
    if any(part in {b"", b".", b".."} for part in parts):
        raise ValueError(f"{shown(path)} must be relative to the volume, without empty, '.' or '..' parts")
    if any(ord(char) < 32 or ord(char) == 127 for char in path):
        raise ValueError(f"{shown(path)} has a control character")
    if len(path.encode()) > MAX_PATH_BYTES or max(map(len, parts)) > _MAX_PART_BYTES:
        raise ValueError(f"{shown(path)} is longer than {MAX_PATH_BYTES} bytes, or a part of it than {_MAX_PART_BYTES}")
    return path


def shown(text: str) -> str:
    """`text` in quotes, shortened and printable, because the line goes to a log."""
    return ascii(text if len(text) <= 120 else f"{text[:117]}...")


def look(models: str, files: Sequence[str]) -> Sight:
    """Looks for `files`, checked paths below the directory `models`; the first is the one to load."""
    try:
        root = os.open(models, _DIRECTORY)
        try:
            _refresh(root, files)
            missing = next((file for file in files if not _is_file(root, file)), None)
        finally:
            os.close(root)
    except OSError as error:
        return Unreadable(f"the volume at {models} can't be read: {error.strerror}", ExitCode.VOLUME_UNREADABLE)
    if missing is None:
        return There(f"{models}/{files[0]}")
    return Missing(f"{models}/{missing}" + (f", one of {len(files)} files" if len(files) > 1 else ""))


def _is_file(root: int, path: str) -> bool:
    """Whether a plain file is at `path` below the open directory. Raises OSError for anything but a missing one."""
    try:
        return stat.S_ISREG(os.stat(path, dir_fd=root).st_mode)
    except OSError as error:
        if error.errno in _NOT_THERE:
            return False
        raise


def _refresh(root: int, files: Sequence[str]) -> None:
    """Opens the directories above `files`, so that a client of NFS asks the server for the names in them.

    It keeps the answer that a name is missing for up to a minute, and validates it when the directory is opened
    (Linux, `nfs_lookup_verify_inode`: close-to-open consistency holds for directories too).
    """
    for directory in sorted({above for file in files for above in _directories(file)}):
        with suppress(OSError):  # the look itself says what is wrong
            os.close(os.open(directory, _DIRECTORY, dir_fd=root))


def _directories(file: str) -> list[str]:
    """`a` and `a/b` for `a/b/c.gguf`."""
    parts = file.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]
