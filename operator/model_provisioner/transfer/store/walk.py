"""Finds the model files below a directory that other users of the volume may write to.

They may nest directories as deep as they like, so the walk does not recurse, and has at most two descriptors open.
Called by `published_files`. Which of the files are deleted is not decided here.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from model_provisioner.domain.store.paths import MAX_PATH_BYTES, is_safe
from model_provisioner.transfer.store import posix

_NOT_ENTERED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A model file: its path below the volume's root, and its lstat."""

    path: str
    facts: os.stat_result


@dataclass(frozen=True, slots=True)
class _Level:
    """A directory on the way down: its path, its device and inode, and its directories that are still to be entered."""

    path: str
    identity: tuple[int, int]
    waiting: list[str]


def model_files(root: int, directory: str) -> Iterator[FoundFile]:
    """The model files below the directory `directory` of `root` (a descriptor), in no order.

    Symbolic links are neither found nor followed. Not entered are directories that can't be opened, and those in which
    no path is one of the store. The walk ends early if a directory is moved while it is walked through. Raises OSError
    if `directory` can't be opened for another reason than that there is none.
    """
    try:
        current = posix.open_directory(directory, root)
    except OSError as error:
        if error.errno in posix.NO_FILE:
            return
        raise
    try:
        levels = [_level(current, directory)]
        yield from _files(current, directory)
        while True:
            level = levels[-1]
            if level.waiting:
                name = level.waiting.pop()
                if (below := _enter(name, current)) is None:
                    continue
                os.close(current)
                current = below
                levels.append(_level(current, f"{level.path}/{name}"))
                yield from _files(current, levels[-1].path)
            else:
                levels.pop()
                if not levels or (above := _leave(current, levels[-1])) is None:
                    return
                os.close(current)
                current = above
    finally:
        os.close(current)


def _level(directory: int, path: str) -> _Level:
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return _Level(path, _identity(directory), [name for name in names if _fits(path, f"{name}/x.gguf")])


def _files(directory: int, path: str) -> Iterator[FoundFile]:
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if _fits(path, entry.name)]
    for name in names:
        if facts := posix.stat_regular(name, directory):
            yield FoundFile(f"{path}/{name}", facts)


def _fits(directory: str, rest: str) -> bool:
    """Whether `directory/rest` is a path of the store, if `directory` can begin one. Long paths cost no more."""
    return is_safe(rest) and len(directory.encode()) + 1 + len(rest.encode()) <= MAX_PATH_BYTES


def _enter(name: str, directory: int) -> int | None:
    try:
        return posix.open_directory(name, directory)
    except OSError as error:
        if error.errno in _NOT_ENTERED:
            return None
        raise


def _leave(directory: int, came_from: _Level) -> int | None:
    """The directory above; None if it is not the one that the walk came from, because `directory` was moved."""
    with suppress(OSError):
        above = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
        if _identity(above) == came_from.identity:
            return above
        os.close(above)
    return None


def _identity(directory: int) -> tuple[int, int]:
    found = os.fstat(directory)
    return found.st_dev, found.st_ino
