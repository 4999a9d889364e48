"""The store's private directory and what is in it: made for, and kept to, this process's user.

Kubernetes gives every file of a volume to `fsGroup`, with the right to write, each time a pod mounts it. So a mode is
corrected each time a store is opened and before a file is published. Called by `identity`, `store`, `files` and
`partfile`. What is private enough is decided in `domain.store.privacy`.
"""

import os
import stat
from contextlib import suppress

from model_provisioner.domain.errors import VolumeUnsuitable
from model_provisioner.domain.store import privacy
from model_provisioner.domain.store.privacy import DIRECTORY_MODE, FILE_MODE
from model_provisioner.transfer.store import posix


def open_directory(name: str, parent: int, shown: str, *, create: bool) -> int:
    """A descriptor of the private directory `name` in `parent` (a descriptor), which is made if `create` is True.

    `shown` is its path in a message. Raises FileNotFoundError, VolumeUnsuitable if another user can change it.
    """
    if create:
        with suppress(FileExistsError):
            os.mkdir(name, DIRECTORY_MODE, dir_fd=parent)
            posix.sync_directory(parent)
    directory = posix.open_directory(name, parent)
    try:
        keep_directory(directory, shown)
    except BaseException:
        os.close(directory)
        raise
    return directory


def keep_directory(directory: int, shown: str) -> None:
    """Corrects the mode of a private directory (a descriptor). Raises VolumeUnsuitable as `open_directory` does."""
    _keep(directory, shown, DIRECTORY_MODE)


def keep_file(fd: int, shown: str) -> None:
    """Corrects the mode of a private file (a descriptor). Raises VolumeUnsuitable if another user can change it."""
    _keep(fd, shown, FILE_MODE)


def check_owner(name: str, directory: int, shown: str) -> None:
    """Raises VolumeUnsuitable if the file `name` in `directory` (a descriptor) belongs to another user."""
    found = posix.stat_regular(name, directory)
    if found is not None:
        _check(shown, found.st_uid, 0)


def _keep(fd: int, shown: str, mode: int) -> None:
    found, own = os.fstat(fd), os.geteuid()
    if found.st_uid == own and privacy.is_open(found.st_mode):
        with suppress(OSError):  # what the file system shows afterwards is what counts
            os.fchmod(fd, mode)
        found = os.fstat(fd)
    _check(shown, found.st_uid, stat.S_IMODE(found.st_mode))


def _check(shown: str, owner: int, mode: int) -> None:
    why = privacy.why_exposed(shown, owner, mode, os.geteuid())
    if why is not None:
        raise VolumeUnsuitable(why)
