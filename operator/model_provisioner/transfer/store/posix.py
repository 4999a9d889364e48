"""POSIX calls relative to directory descriptors, for a volume that other processes also write to.

A path is opened component by component without following symbolic links, so that nothing outside the volume is opened.
chmod, chown and the fsync of a directory are best effort, because some file systems lack them; `volume_errors` turns
other failures into a ProvisionError. Called by `transfer.store`, and by the rest of `transfer` for `volume_errors`.
What to write, keep or delete is not decided here.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from model_provisioner.domain.errors import (
    InsufficientStorage,
    PathConflict,
    ProvisionError,
    VolumeNotWritable,
    VolumeUnsuitable,
)
from model_provisioner.domain.store.modes import Modes
from model_provisioner.domain.store.paths import check_name

PRIVATE_MODE = 0o600

# macOS has no fdatasync; fsync also writes the metadata.
datasync = getattr(os, "fdatasync", os.fsync)

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_NO_DOCUMENT = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM})
_NOT_OWN = frozenset({errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EACCES, errno.EPERM})
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_ERRORS_BY_NUMBER: tuple[tuple[frozenset[int], type[ProvisionError], str], ...] = (
    (
        NO_SPACE,
        InsufficientStorage,
        "free space on the volume or enlarge its claim; the bytes that came so far are kept",
    ),
    (
        frozenset({errno.EACCES, errno.EPERM}),
        VolumeNotWritable,
        "the download runs as {uid}:{gid}, which has no permission for it: set the pod's fsGroup to a group that has, "
        "or, if the volume's driver ignores that, run `chown -R {uid}:{gid}` on the volume",
    ),
    (
        frozenset({errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT}),
        VolumeNotWritable,
        "check that the volume is mounted for writing and is healthy",
    ),
    (
        frozenset({errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}),
        PathConflict,
        "a symbolic link, or a file where a directory should be, is in the way: remove it",
    ),
    (
        frozenset({errno.ENAMETOOLONG, errno.EILSEQ}),
        VolumeUnsuitable,
        "the file system of the volume does not accept this name: use a volume of another storage class",
    ),
    (
        frozenset({errno.EXDEV, errno.EBUSY}),
        VolumeUnsuitable,
        "another file system is mounted below the volume's root, and a file can't be renamed into it: unmount it there",
    ),
    (
        _UNSUPPORTED | {errno.EFBIG},
        VolumeUnsuitable,
        "the file system lacks what publishing a file safely needs: use a volume of another storage class",
    ),
)


class FileVersion(NamedTuple):
    """What tells one content of a file from another, in bytes and nanoseconds since the epoch.

    An exchanged file has another inode. A write changes `mtime_ns`, which only the owner can set back, and `ctime_ns`,
    which no program can; so does a rename or a new mode.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> "FileVersion":
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    def has_content_of(self, other: "FileVersion") -> bool:
        """Whether both are the same file with the same content; its name and mode may differ."""
        return self[:-1] == other[:-1]


@contextmanager
def volume_errors(action: str) -> Iterator[None]:
    """Turns an OSError into a ProvisionError with the message "could not <action>: <why>: <what to do>".

    An OSError with an errno that is not in the table passes unchanged.
    """
    try:
        yield
    except OSError as error:
        for numbers, cls, advice in _ERRORS_BY_NUMBER:
            if error.errno in numbers:
                what_to_do = advice.format(uid=os.geteuid(), gid=os.getegid())
                raise cls(f"could not {action}: {os.strerror(error.errno)}: {what_to_do}") from error
        raise


def open_directory(name: str, parent: int, *, create: Modes | None = None) -> int:
    """A descriptor of the directory `name` in the directory `parent` (a descriptor).

    A missing directory is made durably with the mode and group in `create`; with `create` None, raises
    FileNotFoundError.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        if create is None:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, create.directory, dir_fd=parent)
    sync_directory(parent)
    made = os.open(name, flags, dir_fd=parent)
    set_mode_and_group(made, create.directory, create.group)  # independent of the umask: other users read the models
    return made


@contextmanager
def opened_parent(root: int, path: str, *, create: Modes | None = None) -> Iterator[tuple[int, str]]:
    """The parent directory of `path` below `root` as a descriptor, and the last component of `path`.

    `create` as in `open_directory`. Raises UnsupportedSource for a hostile path, OSError if a parent is missing or is
    not a directory.
    """
    *parents, name = check_name(path).split("/")
    with opened_directory(root, parents, create=create) as directory:
        yield directory, name


def open_root(directory: Path) -> int:
    """A descriptor of a volume's root. The path comes from the settings, so symbolic links in it are followed.

    Raises VolumeNotWritable if the directory is missing, OSError for other failures.
    """
    try:
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError as error:
        raise VolumeNotWritable(f"the directory {directory} does not exist: mount the volume there") from error


@contextmanager
def opened_root(directory: Path) -> Iterator[int]:
    """`open_root` as a context manager."""
    root = open_root(directory)
    try:
        yield root
    finally:
        os.close(root)


@contextmanager
def opened_directory(root: int, parts: list[str], *, create: Modes | None = None) -> Iterator[int]:
    """A descriptor of the directory at the path components `parts` below `root`; `create` as in `open_directory`.

    A path may be deep, so no descriptor of a directory above stays open.
    """
    directory = root
    try:
        for part in parts:
            above, directory = directory, open_directory(part, directory, create=create)
            if above != root:
                os.close(above)
        yield directory
    finally:
        if directory != root:
            os.close(directory)


def stat_regular(name: str, directory: int) -> os.stat_result | None:
    """The lstat of a regular file; None if there is no file, or it is not a regular one (such as a symbolic link)."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def open_regular(name: str, directory: int) -> int:
    """A read-only descriptor of a regular file. Raises FileNotFoundError for anything else."""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise FileNotFoundError(errno.ENOENT, "not a regular file", name)


def statvfs(directory: int) -> os.statvfs_result | None:
    """What the file system says about itself; None if it lacks this call."""
    try:
        return os.fstatvfs(directory)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return None
        raise


def read_document(name: str, directory: int, limit: int) -> bytes | None:
    """The content of a small file of this process's user.

    None if it is missing, is not a regular file, belongs to another user or has more than `limit` bytes: then nothing
    of it is read.
    """
    try:
        fd = open_regular(name, directory)
    except OSError as error:
        if error.errno in _NO_DOCUMENT:
            return None
        raise
    try:
        found = os.fstat(fd)
        if found.st_size > limit or found.st_uid != os.geteuid():
            return None
        data = bytearray()
        while chunk := os.read(fd, limit + 1 - len(data)):
            data += chunk
        return bytes(data) if len(data) <= limit else None
    finally:
        os.close(fd)


def open_own(name: str, directory: int) -> int:
    """A descriptor to write the small file `name`, which is made if it is missing.

    Anything else under this name, such as a pipe or a file of another user or with another name, is replaced.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        fd = os.open(name, flags, PRIVATE_MODE, dir_fd=directory)
    except OSError as error:
        if error.errno not in _NOT_OWN:
            raise
    else:
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink <= 1:
            return fd
        os.close(fd)
    unlink_if_exists(name, directory)
    return os.open(name, flags | os.O_EXCL, PRIVATE_MODE, dir_fd=directory)


def write_document(name: str, directory: int, data: bytes) -> None:
    """Replaces a small file atomically: a reader, also after a crash, sees the old or the new content.

    The content is durable on return; the name is only after `sync_directory`.
    """
    temporary = f"{name}.new"
    unlink_if_exists(temporary, directory)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_MODE, dir_fd=directory)
    try:
        write_all(fd, 0, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)


def write_all(fd: int, offset: int, data: bytes | memoryview) -> None:
    """Writes all of `data` at `offset` (bytes), with as many calls of pwrite as that takes."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, offset)
        offset, rest = offset + written, rest[written:]


def unlink_if_exists(name: str, directory: int) -> bool:
    """Returns whether there was a file to unlink."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        return False
    return True


def sync_directory(fd: int) -> None:
    """Makes the names in a directory durable, if the file system supports it (some network and FUSE ones do not)."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _UNSUPPORTED | {errno.EBADF, errno.EACCES, errno.EPERM}:
            raise


def set_mode_and_group(fd: int, mode: int, group: int | None) -> None:
    """fchmod and fchown, best effort: some file systems have no modes, and a file may belong to another user."""
    with suppress(OSError):
        os.fchmod(fd, mode)
    if group is not None:
        with suppress(OSError):
            os.fchown(fd, -1, group)
