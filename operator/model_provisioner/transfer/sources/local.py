"""Resolves `local:` refs: files that users put below `local/` of the volume.

Called by `resolver`. Nothing is written or hashed here; the transfer hashes a file once, when it adopts it.
"""

import errno
import os
from pathlib import Path, PurePosixPath

from model_provisioner.domain.errors import InvalidRef, PathConflict, SourceNotFound
from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.model_files.selection import select
from model_provisioner.domain.refs.local import LocalRef
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.paths import store_path
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.sources.source import Asked, Resolved, Source
from model_provisioner.transfer.store import obstacles, posix, published_files
from model_provisioner.transfer.store.store import Store

_NO_DIRECTORY = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


class Local(Source[LocalRef]):
    """Files on the volume."""

    async def resolve(self, asked: Asked[LocalRef]) -> Resolved:
        """Raises what `plan` raises, and InvalidRef without a volume to look at."""
        store = asked.store
        if store is None:
            raise InvalidRef(f"{asked.ref} names a file of a volume, and no volume was given to look at")
        return Resolved(await self._tools.on_volumes.run(lambda: plan(asked.ref, store, asked.digest)))


def plan(ref: LocalRef, store: StoreRef, digest: Digest | None) -> Plan:
    """The plan for a file on the volume, with all files if it belongs to a split model. Blocks.

    `digest` is the one that the user expects. No store is created. Raises SourceNotFound, IncompleteModel, PathConflict
    for something else than a file at the path or than a directory above it, VolumeChanged if `store` has an id and that
    store is not in its directory.
    """
    directory = Path(store.directory)
    if store.id is not None:
        Store.open(directory, store.id).close()
    with posix.volume_errors(f"look into {directory}"), posix.opened_root(directory) as root:
        files = tuple(_planned(root, LocalRef(path), digest) for path in _file_paths(root, ref))
    return Plan(str(ref), None, files)


def _file_paths(root: int, ref: LocalRef) -> tuple[str, ...]:
    path = PurePosixPath(store_path(ref, ref.path))
    obstacles.check_parents(root, str(path))
    if path.name not in (names := _list_directory(root, path.parent)):
        raise SourceNotFound(f"{path} is not on the volume: put the file there, or correct the path after local:")
    parent = PurePosixPath(ref.path).parent
    return tuple(str(parent / name) for name in select(names, path.name))


def _list_directory(root: int, directory: PurePosixPath) -> list[str]:
    """The names in `directory`; none if it is not a directory, or a symbolic link is part of the path."""
    with posix.volume_errors(f"list {directory}"):
        try:
            with posix.opened_directory(root, list(directory.parts)) as opened:
                return os.listdir(opened)  # noqa: PTH208 - a descriptor has no pathlib
        except OSError as error:
            if error.errno in _NO_DIRECTORY:
                return []
            raise


def _planned(root: int, ref: LocalRef, digest: Digest | None) -> PlannedFile:
    path = store_path(ref, ref.path)
    found = published_files.stat(root, path)
    if found is None:
        raise PathConflict(f"{path} is not a plain file: put the model itself there, not a link or a directory")
    return PlannedFile(path, found.st_size, digest, str(ref), None, role=FileRole.NAMED)
