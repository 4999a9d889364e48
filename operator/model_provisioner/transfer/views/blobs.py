"""The blobs of the view of Ollama: `views/ollama/blobs/sha256-<hexadecimal>`.

Links published files and writes small texts for `transfer.views.ollama`. A fetched file is linked by a hard link, which
`transfer.store.view_links` removes before the file is deleted or replaced. A user's own file (`local:`) is linked by a
relative symbolic link, because the user may delete it at any time and a hard link would keep its bytes. So is any file
of which no hard link can be made: the file system has none, or the file belongs to another user (proc(5),
fs.protected_hardlinks). Such a link is right wherever the volume is mounted, if the whole of it is.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from model_provisioner.domain.errors import VolumeUnsuitable
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.paths import OLLAMA_BLOBS, is_local
from model_provisioner.domain.views.ollama_layout import blob_name
from model_provisioner.transfer.store import posix
from model_provisioner.transfer.store.store import Volume
from model_provisioner.transfer.views.new_file import write_into

_NOT_POSSIBLE = frozenset({errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})
_NO_HARD_LINK = _NOT_POSSIBLE | {errno.EMLINK, errno.EXDEV}
_UP = "../" * len(OLLAMA_BLOBS)


class Blobs:
    """`directory` is a descriptor of `blobs`, which the caller closes. `symbolic` counts links, see `ViewResult`."""

    def __init__(self, volume: Volume, claim: Claim, directory: int) -> None:
        self._volume = volume
        self._claim = claim
        self._directory = directory
        self.symbolic = 0

    @classmethod
    @contextmanager
    def opened(cls, volume: Volume, claim: Claim, *, create: bool = True) -> "Iterator[Blobs]":
        """The blobs of the view. Raises FileNotFoundError if there is no view, and `create` is False."""
        with posix.opened_directory(
            volume.root, list(OLLAMA_BLOBS), create=volume.modes if create else None
        ) as directory:
            yield cls(volume, claim, directory)

    def names(self) -> list[str]:
        """The names of the files of this process's user."""
        with os.scandir(self._directory) as entries:
            found = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
        return [name for name, facts in found.items() if _is_link_or_file(facts) and self._is_removable(facts)]

    def link(self, digest: Digest, path: str, published: os.stat_result) -> None:
        """Links the file at `path`, which has the lstat `published`.

        Raises FileNotFoundError if there is no file at `path` any more, VolumeUnsuitable if the file system has
        no links.
        """
        name = blob_name(digest)
        if is_local(path):
            self._link_symbolically(name, path)
        elif not self._is_linked(name, path, published):
            self._link_hard(name, path, published)

    def write(self, digest: Digest, content: bytes) -> None:
        """Writes a text, unless it is there already."""
        name = blob_name(digest)
        if posix.read_document(name, self._directory, len(content)) != content:
            write_into(self._volume, self._claim, name, self._directory, content)

    def sync(self) -> None:
        """Makes the names durable, so that no manifest outlives a loss of power without its blobs."""
        posix.sync_directory(self._directory)

    def remove(self, name: str) -> None:
        posix.unlink_if_exists(name, self._directory)

    def _is_linked(self, name: str, path: str, published: os.stat_result) -> bool:
        """Whether there is such a link already. A symbolic one stays, so that not every update replaces it."""
        if self._is_hard_link(name, published):
            return True
        self.symbolic += (is_symbolic := self._target(name) == f"{_UP}{path}")
        return is_symbolic

    def _link_hard(self, name: str, path: str, published: os.stat_result) -> None:
        try:
            with posix.opened_parent(self._volume.root, path) as (parent, file):
                posix.unlink_if_exists(name, self._directory)
                os.link(file, name, src_dir_fd=parent, dst_dir_fd=self._directory, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_HARD_LINK:
                raise
        if not self._is_hard_link(name, published):  # or the file system has no inode numbers that can be compared
            self._link_symbolically(name, path)
            self.symbolic += 1

    def _link_symbolically(self, name: str, path: str) -> None:
        target = f"{_UP}{path}"
        if self._target(name) == target:
            return
        posix.unlink_if_exists(name, self._directory)
        try:
            os.symlink(target, name, dir_fd=self._directory)
        except OSError as error:
            if error.errno not in _NOT_POSSIBLE:
                raise
            raise VolumeUnsuitable(
                f"{path} can't be linked into the view of Ollama: the file system has neither hard nor symbolic links:"
                " use a volume of another storage class, or switch the view off"
            ) from error

    def _is_hard_link(self, name: str, published: os.stat_result) -> bool:
        found = posix.stat_regular(name, self._directory)
        return found is not None and (found.st_dev, found.st_ino) == (published.st_dev, published.st_ino)

    def _target(self, name: str) -> str | None:
        """Where the symbolic link `name` leads to; None if it is none."""
        try:
            return os.readlink(name, dir_fd=self._directory)
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.EINVAL}:
                raise
            return None

    def _is_removable(self, facts: os.stat_result) -> bool:
        return facts.st_uid == os.geteuid() or facts.st_nlink > 1


def _is_link_or_file(facts: os.stat_result) -> bool:
    return stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode)
