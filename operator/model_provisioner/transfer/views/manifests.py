"""The manifests of the view of Ollama: `views/ollama/manifests/<host>/<namespace>/<model>/<tag>`.

Reads, writes and removes them for `transfer.views.ollama`. Another program may have put anything there: no symbolic
link is followed, and only files of this process's user are read. A manifest is written elsewhere and renamed, because
Ollama takes every file that is four directories deep for one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice

from model_provisioner.domain.errors import VolumeUnsuitable
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.views.ollama_image import MAX_MANIFEST_BYTES, FoundManifest, read_manifest
from model_provisioner.domain.views.ollama_layout import MANIFESTS
from model_provisioner.domain.views.ollama_names import OllamaName
from model_provisioner.transfer.store import posix
from model_provisioner.transfer.store.store import Volume
from model_provisioner.transfer.views.new_file import write_into

_DEPTH = 4
_MOST = 20_000  # of a claim are at most some thousand: its namespace's catalog has 800 KiB
_FOREIGN = FoundManifest(None, None, frozenset())


class Manifests:
    """`directory` is a descriptor of `manifests`, which the caller closes; `claim` is whose manifests are written."""

    def __init__(self, volume: Volume, claim: Claim, directory: int) -> None:
        self._volume = volume
        self._claim = claim
        self._directory = directory

    @classmethod
    @contextmanager
    def opened(cls, volume: Volume, claim: Claim, *, create: bool = True) -> "Iterator[Manifests]":
        """The manifests of the view. Raises FileNotFoundError if there is no view, and `create` is False."""
        with posix.opened_directory(volume.root, list(MANIFESTS), create=volume.modes if create else None) as directory:
            yield cls(volume, claim, directory)

    def read(self) -> dict[OllamaName, FoundManifest]:
        """All manifests that Ollama lists, those of other claims and programs too. Raises VolumeUnsuitable.

        A damaged file of this process's user counts as one of this claim, so that it is replaced or removed.
        """
        paths = list(islice(_paths(self._directory, "", _DEPTH), _MOST + 1))
        if len(paths) > _MOST:
            raise VolumeUnsuitable(f"{'/'.join(MANIFESTS)} has more than {_MOST} files: remove some")
        names = (OllamaName.of_path(path) for path in paths)
        return {name: self._read(name) for name in names if name is not None}

    def write(self, name: OllamaName, content: bytes) -> None:
        """Writes the manifest of `name`, unless it has this content already."""
        *parents, tag = name.path.split("/")
        with posix.opened_directory(self._directory, parents, create=self._volume.modes) as directory:
            if posix.read_document(tag, directory, MAX_MANIFEST_BYTES) != content:
                write_into(self._volume, self._claim, tag, directory, content)

    def remove(self, name: OllamaName) -> None:
        """Removes the manifest of `name`, if there is one, and the directories that are empty then."""
        *parents, tag = name.path.split("/")
        with suppress(FileNotFoundError), posix.opened_directory(self._directory, parents) as directory:
            os.unlink(tag, dir_fd=directory)
        with suppress(OSError):  # not empty, or in use again
            while parents:
                with posix.opened_directory(self._directory, parents[:-1]) as above:
                    os.rmdir(parents.pop(), dir_fd=above)

    def _read(self, name: OllamaName) -> FoundManifest:
        *parents, tag = name.path.split("/")
        try:
            with posix.opened_directory(self._directory, parents) as directory:
                data = posix.read_document(tag, directory, MAX_MANIFEST_BYTES)
        except OSError as error:
            if error.errno not in posix.NO_FILE:
                raise
            return _FOREIGN
        if data is None:
            return _FOREIGN
        return read_manifest(data) or FoundManifest(str(self._claim), None, frozenset())


def _paths(directory: int, prefix: str, depth: int) -> Iterator[str]:
    """The paths, `depth` components long, of what is below `directory`. Symbolic links are not followed."""
    with os.scandir(directory) as entries:
        found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_directory in found:
        if depth == 1:
            yield f"{prefix}{name}"
        elif is_directory:
            with suppress(FileNotFoundError, NotADirectoryError), posix.opened_directory(directory, [name]) as below:
                yield from _paths(below, f"{prefix}{name}/", depth - 1)
