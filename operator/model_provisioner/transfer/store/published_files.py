"""Steps on the published files of a volume: stat, open, move into place, delete.

`root` is a descriptor of the volume's root, a path is relative to it. A hostile path raises UnsupportedSource, and no
symbolic link is followed. Called by `files` and `records`, which decide when a step is due, and by
`transfer.sources.local`.
"""

import os
from contextlib import suppress

from model_provisioner.domain.store.modes import Modes
from model_provisioner.transfer.store import obstacles, posix, view_links
from model_provisioner.transfer.store.partfile import PartFile, part_name
from model_provisioner.transfer.store.posix import FileVersion

_MOVE_ATTEMPTS = 3  # deleting another model may remove an empty directory after it was made and before it is used


def stat(root: int, path: str) -> os.stat_result | None:
    """The lstat of the regular file at `path`; None if there is none, or a symbolic link is part of the path."""
    with posix.volume_errors(f"look at {path}"):
        try:
            with posix.opened_parent(root, path) as (directory, name):
                return posix.stat_regular(name, directory)
        except OSError as error:
            if error.errno in posix.NO_FILE:
                return None
            raise


def open_file(root: int, path: str) -> int:
    """A read-only descriptor that the caller closes.

    Raises FileNotFoundError if there is no regular file, PathConflict for a symbolic link.
    """
    with posix.volume_errors(f"open {path}"), posix.opened_parent(root, path) as (directory, name):
        return posix.open_regular(name, directory)


def move_into_place(part: PartFile, parts: int, root: int, path: str, modes: Modes) -> FileVersion:
    """Renames `part` in the directory `parts` (a descriptor) to `path`, durably; makes missing directories.

    Returns what is at `path` then: the file that was sealed, with its content. A rename takes names, so another process
    may exchange the file just before it. Such a file is removed again, and VolumeUnsuitable is raised. Raises
    PathConflict if there is something else than a file at `path`.
    """
    for attempt in range(1, _MOVE_ATTEMPTS + 1):
        try:
            with posix.opened_parent(root, path, create=modes) as (directory, name):
                obstacles.check_replaceable(name, directory, path)
                if replaced := posix.stat_regular(name, directory):
                    view_links.release(root, replaced)
                sealed = part.check_sealed()
                os.rename(part_name(part.key), name, src_dir_fd=parts, dst_dir_fd=directory)
                posix.sync_directory(directory)
                _check_moved(part, directory, name)
                return sealed
        except FileNotFoundError:
            if attempt == _MOVE_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _check_moved(part: PartFile, directory: int, name: str) -> None:
    found = posix.stat_regular(name, directory)
    if found is None or not part.is_file(found):
        if found is not None:
            os.unlink(name, dir_fd=directory)
            posix.sync_directory(directory)
        raise part.changed()


def apply_modes(root: int, path: str, modes: Modes) -> None:
    """Gives a published file its mode and group, best effort (see `posix.set_mode_and_group`)."""
    fd = open_file(root, path)
    posix.set_mode_and_group(fd, modes.file, modes.group)
    os.close(fd)


def delete(root: int, path: str) -> bool:
    """Deletes a regular file durably, with its links in a view, and returns whether there was one.

    Directories that are empty then are removed too, except the topmost (`hf`).
    """
    try:
        with posix.opened_parent(root, path) as (directory, name):
            found = posix.stat_regular(name, directory)
            if found is None:
                return False
            view_links.release(root, found)
            os.unlink(name, dir_fd=directory)
            posix.sync_directory(directory)
    except OSError as error:
        if error.errno in posix.NO_FILE:
            return False
        raise
    _remove_empty_parents(root, path)
    return True


def _remove_empty_parents(root: int, path: str) -> None:
    parents = path.split("/")[:-1]
    with suppress(OSError):  # not empty, or in use again: both end the walk upwards
        while len(parents) > 1:
            with posix.opened_directory(root, parents[:-1]) as above:
                os.rmdir(parents.pop(), dir_fd=above)
