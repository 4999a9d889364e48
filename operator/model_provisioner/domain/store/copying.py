"""Decides which published file of a store may be copied to another claim instead of being fetched from its source.

The source stays the judge of who may read a file. So a copy must be of the very file that the other object asks its
source for: the same source, size and digest. Equal digests are not enough: a source of another tenant can claim any
digest, also that of a private file that it never had. Used by `controller.transfers.copies` and `transfer.store.files`.
"""

from collections.abc import Iterable
from dataclasses import replace

from model_provisioner.domain.store.holders import HolderRecord
from model_provisioner.domain.store.plan import PlannedFile


def may_be_copied(file: PlannedFile) -> bool:
    """Whether the source itself publishes the SHA-256 of `file`: what comes from elsewhere is compared with that."""
    return file.digest is not None and file.digest_published and file.archive is None and not file.is_local


def has_copy(file: PlannedFile, size: int, mtime_ns: int, records: Iterable[HolderRecord]) -> bool:
    """Whether one of `records` confirms that what is at `file.path` is `file`, fetched from its source.

    `size` and `mtime_ns` are those of what is there. `part_key` covers source, size, digest and path.
    """
    if not may_be_copied(file) or size != file.size:
        return False
    held = (record.file(file.path) for record in records if file.part_key in record.part_keys)
    return any(one is not None and (one.digest, one.mtime_ns) == (file.digest, mtime_ns) for one in held)


def moved(file: PlannedFile, path: str) -> PlannedFile:
    """`file` at `path` of another claim, where the directory of its commit may be part of it."""
    return replace(file, path=path)
