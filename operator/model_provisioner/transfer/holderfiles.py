"""The holder records of a store, one file for each object: `.provisioner/holders/<uid>.json`.

Reads and writes them; what they mean is decided in `domain.holders`. Only `transfer.store` calls this.
"""

import os
import re
from typing import NamedTuple

from model_provisioner.domain.holders import HolderRecord
from model_provisioner.domain.paths import is_safe
from model_provisioner.transfer import volume
from model_provisioner.transfer.records import decode_holder, encode_holder

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}")
_KEY = re.compile(r"[0-9a-f]{40}")
_SUFFIX = ".json"


class Others(NamedTuple):
    """`all_read` is False where nobody can tell what some of the records hold."""

    records: tuple[HolderRecord, ...]
    all_read: bool


class HolderFiles:
    """Records below the directory with the descriptor `directory`, which stays the caller's to close."""

    def __init__(self, directory: int) -> None:
        self._directory = directory

    def read(self, uid: str) -> HolderRecord | None:
        """None where there is no record, or none that can be trusted."""
        return self._read(_name(uid))

    def others(self, uid: str) -> Others:
        """What everybody but `uid` holds."""
        found = [self._read(name) for name in self._names(uid)]
        records = tuple(record for record in found if record is not None)
        return Others(records, all_read=len(records) == len(found))

    def all(self) -> Others:
        """What everybody holds."""
        return self.others("")

    def unreadable(self) -> tuple[str, ...]:
        """The names of the records of which nobody can tell what they say."""
        return tuple(name for name in self._names("") if self._read(name) is None)

    def write(self, record: HolderRecord) -> None:
        """Durably, in one step."""
        volume.write_document(_name(record.uid), self._directory, encode_holder(record))
        volume.sync_directory(self._directory)

    def unlink(self, uid: str) -> None:
        """Durably; the record may be gone already."""
        if volume.unlink_if_there(_name(uid), self._directory):
            volume.sync_directory(self._directory)

    def _names(self, uid: str) -> list[str]:
        with os.scandir(self._directory) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(_SUFFIX))
        return [name for name in names if name != uid + _SUFFIX]

    def _read(self, name: str) -> HolderRecord | None:
        data = volume.read_document(name, self._directory)
        record = None if data is None else decode_holder(data)
        return record if record is not None and record.uid + _SUFFIX == name and _is_harmless(record) else None


def _is_harmless(record: HolderRecord) -> bool:
    """Others write to the volume too, and what a record names may be deleted: it must lie where we put things."""
    return all(_KEY.fullmatch(key) for key in record.part_keys) and all(is_safe(file.path) for file in record.files)


def _name(uid: str) -> str:
    """Raises ValueError for what can't be an object's uid, since it becomes a file name."""
    if not _UID.fullmatch(uid):
        raise ValueError(f"{uid[:80]!r} is not a uid")
    return uid + _SUFFIX
