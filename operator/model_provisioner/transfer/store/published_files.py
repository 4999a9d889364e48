"""The published files of a volume: looking, opening, moving into place, deleting; all below its root.

Paths are hostile until proven otherwise: a symbolic link is nowhere followed. Only `transfer.store`
calls this, which knows when each step is due.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from model_provisioner.domain.store.modes import Modes
from model_provisioner.domain.store.paths import is_safe
from model_provisioner.transfer.store import posix

_NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_MOVE_ATTEMPTS = 3  # deleting another model may take an empty directory away between making and using it


def stat(root: int, path: str) -> os.stat_result | None:
    """The facts of the regular file at `path`; None where there is none, or only behind a symbolic link."""
    with posix.volume_errors(f"look at {path}"):
        try:
            with posix.opened_parent(root, path) as (directory, name):
                return posix.stat_regular(name, directory)
        except OSError as error:
            if error.errno in _NO_FILE:
                return None
            raise


def open_file(root: int, path: str) -> int:
    """A read-only descriptor. Raises FileNotFoundError where there is no regular file."""
    with posix.volume_errors(f"open {path}"), posix.opened_parent(root, path) as (directory, name):
        return posix.open_regular(name, directory)


def model_paths(root: int, directories: Iterable[str]) -> Iterator[str]:
    """The paths of the model files below these directories of the root; links are left out, and not followed."""
    for directory in directories:
        try:
            with posix.opened_directory(root, directory.split("/")) as opened:
                entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in os.scandir(opened))
        except OSError as error:
            if error.errno in _NO_FILE:
                continue
            raise
        for name, is_directory in entries:
            path = f"{directory}/{name}"
            if is_directory:
                yield from model_paths(root, [path])
            elif is_safe(path) and stat(root, path):
                yield path


def move_into_place(part: str, parts: int, root: int, path: str, modes: Modes) -> None:
    """Renames `part` in the directory `parts` to `path`, durably, with the directories that this needs."""
    for attempt in range(1, _MOVE_ATTEMPTS + 1):
        try:
            with posix.opened_parent(root, path, create=modes) as (directory, name):
                os.rename(part, name, src_dir_fd=parts, dst_dir_fd=directory)
                posix.sync_directory(directory)
        except FileNotFoundError:
            if attempt == _MOVE_ATTEMPTS:
                raise
        else:
            return


def apply_modes(root: int, path: str, modes: Modes) -> None:
    """Best effort, see `volume.set_mode_and_group`."""
    fd = open_file(root, path)
    posix.set_mode_and_group(fd, modes.file, modes.group)
    os.close(fd)


def delete(root: int, path: str) -> bool:
    """Was there a regular file? Directories that this leaves empty go too, but for the topmost (`hf`)."""
    try:
        with posix.opened_parent(root, path) as (directory, name):
            if posix.stat_regular(name, directory) is None:
                return False
            os.unlink(name, dir_fd=directory)
            posix.sync_directory(directory)
    except OSError as error:
        if error.errno in _NO_FILE:
            return False
        raise
    _remove_empty_parents(root, path)
    return True


def _remove_empty_parents(root: int, path: str) -> None:
    parents = path.split("/")[:-1]
    with suppress(OSError):  # not empty, or made use of again: both end the walk upwards
        while len(parents) > 1:
            with posix.opened_directory(root, parents[:-1]) as above:
                os.rmdir(parents.pop(), dir_fd=above)
