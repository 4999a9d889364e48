"""Finds what prevents a file from being published at its path, before its bytes are fetched.

Something else lies at the path or at one of its parents, the directory cannot be written, or the file system does not
accept a name. `files` and `records` call this before a fetch, `published_files` calls `check_replaceable` before a
rename, `transfer.sources.local` calls `check_parents` for a file of a user. Which path a file
gets is not decided here.
"""

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath

from model_provisioner.domain.errors import PathConflict
from model_provisioner.domain.store.paths import check_name
from model_provisioner.transfer.store import posix

PROBE_FILE = ".provisioner-probe"
PROBE_DIRECTORY = ".provisioner-probe.d"

_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a file",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}
_ADVICE = "remove or rename it on the volume"
# A full volume is reported with numbers by the steps that follow. The others mean that another process uses the same
# probe or removes the directory at this moment, which does not stop a later publishing.
_NO_OBSTACLE = posix.NO_SPACE | {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR}


@dataclass(frozen=True, slots=True)
class _Place:
    """The nearest existing directory above a file: an open descriptor and its path below the root.

    `missing` are the names of the path that do not exist in it, the file's own last; empty if the file exists.
    """

    descriptor: int
    path: PurePosixPath
    missing: tuple[str, ...]


def check_parents(root: int, path: str) -> None:
    """Raises PathConflict if there is something else than a directory at one of the parents of `path`.

    `root` is a descriptor of the volume's root. A name that does not exist is no conflict. Raises VolumeNotWritable for
    a directory that cannot be opened, UnsupportedSource for a hostile path.
    """
    with _nearest_directory(root, path):
        pass


def check_kinds(root: int, path: str) -> None:
    """As `check_parents`; raises PathConflict also if there is something else than a file at `path`."""
    with posix.volume_errors(f"look for {path}"), _nearest_directory(root, path) as place:
        if not place.missing:
            check_replaceable(PurePosixPath(path).name, place.descriptor, path)


def check_writable(root: int, private: int, path: str) -> None:
    """Does what publishing `path` will do in the nearest existing directory, with a probe that is removed at once.

    `private` is a descriptor of the store's private directory. The access rights alone do not tell: servers of files
    and quotas have rules of their own, and another file system may be mounted below the root. Raises VolumeNotWritable,
    VolumeUnsuitable, and as `check_kinds` does.
    """
    check_kinds(root, path)
    with _nearest_directory(root, path) as place:
        with posix.volume_errors(f"look for {path} in {_describe(place)}"):
            for name in place.missing:
                _lstat(name, place.descriptor)  # a name may be too long for this file system
        with posix.volume_errors(f"write to {_describe(place)}, where {path} is to be published"):
            _check_sticky(place, PurePosixPath(path).name)
            try:
                _probe(private, place.descriptor, as_directory=len(place.missing) > 1)
            except OSError as error:
                if error.errno not in _NO_OBSTACLE:
                    raise


def check_readable(root: int, path: str) -> None:
    """Raises VolumeNotWritable if there is a file at `path` that cannot be opened for reading."""
    with posix.volume_errors(f"read {path}"), _nearest_directory(root, path) as place, suppress(FileNotFoundError):
        os.close(posix.open_regular(PurePosixPath(path).name, place.descriptor))


def check_replaceable(name: str, directory: int, path: str) -> None:
    """Raises PathConflict if `name` in `directory` (a descriptor), which is `path`, is something else than a file."""
    found = _lstat(name, directory)
    if found is not None and not stat.S_ISREG(found.st_mode):
        raise PathConflict(f"{path} is {_kind(found)}, and the model needs a file there: {_ADVICE}")


@contextmanager
def _nearest_directory(root: int, path: str) -> Iterator[_Place]:
    names = check_name(path).split("/")
    directory, above = root, PurePosixPath()
    try:
        for number, name in enumerate(names[:-1]):
            with posix.volume_errors(f"look for {path} in {above}"):
                found = _lstat(name, directory)
            if found is None:
                yield _Place(directory, above, tuple(names[number:]))
                return
            above /= name
            if not stat.S_ISDIR(found.st_mode):
                raise PathConflict(f"{above} is {_kind(found)}, and {path} needs a directory there: {_ADVICE}")
            with posix.volume_errors(f"open {above} (owner {found.st_uid}:{found.st_gid}), the directory of {path}"):
                below = posix.open_directory(name, directory)
            if directory != root:
                os.close(directory)
            directory = below
        with posix.volume_errors(f"look for {path} in {above}"):
            exists = _lstat(names[-1], directory) is not None
        yield _Place(directory, above, () if exists else (names[-1],))
    finally:
        if directory != root:
            os.close(directory)


def _check_sticky(place: _Place, name: str) -> None:
    """Raises PermissionError if only another user may replace the file `name`; see the sticky bit in unlink(2)."""
    above, found = os.fstat(place.descriptor), _lstat(name, place.descriptor)
    if found is None or place.missing or not above.st_mode & stat.S_ISVTX:
        return
    if os.geteuid() not in {0, above.st_uid, found.st_uid}:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


def _probe(private: int, directory: int, *, as_directory: bool) -> None:
    """Makes a file or a directory in `private` and renames it into `directory`, then removes it.

    Its name in `directory` is always the same, so that one that a crash left is replaced by the next.
    """
    made, probe = f"probe-{uuid.uuid4().hex}", PROBE_DIRECTORY if as_directory else PROBE_FILE
    remove = os.rmdir if as_directory else os.unlink
    if as_directory:
        os.mkdir(made, dir_fd=private)
    else:
        os.close(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, posix.PRIVATE_MODE, dir_fd=private))
    try:
        os.rename(made, probe, src_dir_fd=private, dst_dir_fd=directory)
    except OSError:
        remove(made, dir_fd=private)
        raise
    remove(probe, dir_fd=directory)


def _lstat(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _kind(found: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(found.st_mode), "a special file")


def _describe(place: _Place) -> str:
    """Path, owner and mode of the directory, for a message."""
    found = os.fstat(place.descriptor)
    name = "the volume's root" if place.path == PurePosixPath() else str(place.path)
    return f"{name} (owner {found.st_uid}:{found.st_gid}, mode {stat.S_IMODE(found.st_mode):04o})"
