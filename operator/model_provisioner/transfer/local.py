"""Resolves `local:` refs: files that somebody put below `local/` of the volume.

Nothing is hashed here; the transfer does that, once, when it takes the file over.
"""

import os
from pathlib import Path, PurePosixPath

from model_provisioner.domain.digest import Digest
from model_provisioner.domain.errors import PathConflict, SourceNotFound
from model_provisioner.domain.paths import store_path
from model_provisioner.domain.plan import Plan, PlannedFile
from model_provisioner.domain.refs import LocalRef
from model_provisioner.domain.selection import select
from model_provisioner.transfer.protocol import StoreRef
from model_provisioner.transfer.store import Store


def resolve(ref: LocalRef, store: StoreRef, digest: Digest | None) -> Plan:
    """The plan for a file that is there, with all parts where it is one of a split model's; blocking.

    Raises SourceNotFound, which says where to put the file, IncompleteModel, PathConflict for a symbolic link.
    """
    directory = Path(store.directory)
    with Store.open(directory, store.id) as opened:
        paths = _parts(directory, ref)
        files = tuple(_planned(opened, LocalRef(path), digest) for path in paths)
    return Plan(str(ref), None, files)


def _parts(directory: Path, ref: LocalRef) -> tuple[str, ...]:
    path = PurePosixPath(store_path(ref))
    try:
        names = [entry.name for entry in (directory / path.parent).iterdir()]
    except OSError:
        names = []
    if path.name not in names:
        raise SourceNotFound(f"{path} is not on the volume: put the file there, or correct the path after local:")
    parent = PurePosixPath(ref.path).parent
    return tuple(str(parent / name) for name in select(names, path.name))


def _planned(store: Store, ref: LocalRef, digest: Digest | None) -> PlannedFile:
    path = store_path(ref)
    try:
        fd = store.open_published(path)
    except FileNotFoundError:
        raise PathConflict(
            f"{path} is not a plain file: put the model itself there, not a link or a directory"
        ) from None
    try:
        size = os.fstat(fd).st_size
    finally:
        os.close(fd)
    return PlannedFile(path, size, digest, str(ref), None)
