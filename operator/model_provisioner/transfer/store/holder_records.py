"""The holder records of a store, one file for each object: `.provisioner/holders/<uid>.json`.

Reads and writes them; what they mean is decided in `domain.holders`. Only `transfer.store` calls this. Every model
that is fetched makes somebody read all of them, so what was read is cached for as long as the file stays the same,
and who settles or removes one after the other looks at all files a few times a second only.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from model_provisioner.domain.store.holders import HolderRecord
from model_provisioner.domain.store.paths import is_safe
from model_provisioner.transfer.store import posix
from model_provisioner.transfer.store.documents import decode_holder, encode_holder

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}")
_KEY = re.compile(r"[0-9a-f]{40}")
_SUFFIX = ".json"
_MTIME_GRANULARITY_SECONDS = 2.0
_SNAPSHOT_SECONDS = 0.25

FileVersion = tuple[int, int, int, int]
"""Inode, size, time of modification and of change of a file: others mean that it was replaced."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """All records of a `directory` (device and inode) by the names of their files, as they were read `at` a moment."""

    directory: tuple[int, int]
    at: float
    records: Mapping[str, HolderRecord | None]


class RecordCache:
    """What one process has read and written of one store's records. May be shared by threads."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[FileVersion, HolderRecord]] = {}
        self.snapshot: _Snapshot | None = None


class RecordList(NamedTuple):
    """`complete` is False where nobody can tell what some of the records hold."""

    records: tuple[HolderRecord, ...]
    complete: bool


class HolderRecords:
    """Records below the directory with the descriptor `directory`, which stays the caller's to close.

    `now` is the time in seconds since the epoch, as file systems tell it.
    """

    def __init__(
        self,
        directory: int,
        cache: RecordCache | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._cache = cache or RecordCache()
        self._now = now
        self._monotonic = monotonic

    def read(self, uid: str) -> HolderRecord | None:
        """None where there is no record, or none that can be trusted."""
        return self._read(_file_name(uid))

    def others(self, uid: str) -> RecordList:
        """What everybody but `uid` holds."""
        return _record_list([self._read(name) for name in self._names(uid)])

    def recent_others(self, uid: str) -> RecordList:
        """The same as it was a moment ago, but for what this process has written since.

        For the store worker, which alone makes and removes records. It may miss that a fetcher has just read a file
        that, by its record, is still to be read.
        """
        snapshot = self._cache.snapshot
        if (
            snapshot is None
            or snapshot.directory != self._directory_id
            or self._monotonic() - snapshot.at > _SNAPSHOT_SECONDS
        ):
            at = self._monotonic()
            snapshot = _Snapshot(self._directory_id, at, {name: self._read(name) for name in self._names("")})
            self._cache.snapshot = snapshot
        return _record_list([record for name, record in snapshot.records.items() if name != uid + _SUFFIX])

    def all(self) -> RecordList:
        """What everybody holds."""
        return self.others("")

    def unreadable(self) -> tuple[str, ...]:
        """The names of the records of which nobody can tell what they say."""
        return tuple(name for name in self._names("") if self._read(name) is None)

    def write(self, record: HolderRecord) -> None:
        """Durably, in one step."""
        name = _file_name(record.uid)
        posix.write_document(name, self._directory, encode_holder(record))
        posix.sync_directory(self._directory)
        self._update_snapshot(lambda records: {**records, name: record})

    def unlink(self, uid: str) -> None:
        """Durably; the record may be gone already."""
        gone = _file_name(uid)
        if posix.unlink_if_exists(gone, self._directory):
            posix.sync_directory(self._directory)
        self._update_snapshot(lambda records: {name: record for name, record in records.items() if name != gone})

    def _update_snapshot(
        self, change: Callable[[Mapping[str, HolderRecord | None]], Mapping[str, HolderRecord | None]]
    ) -> None:
        snapshot = self._cache.snapshot
        if snapshot is not None and snapshot.directory == self._directory_id:
            self._cache.snapshot = replace(snapshot, records=change(snapshot.records))

    @property
    def _directory_id(self) -> tuple[int, int]:
        facts = os.fstat(self._directory)
        return facts.st_dev, facts.st_ino

    def _names(self, uid: str) -> list[str]:
        with os.scandir(self._directory) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(_SUFFIX))
        for gone in self._cache.files.keys() - set(names):
            self._cache.files.pop(gone, None)
        return [name for name in names if name != uid + _SUFFIX]

    def _read(self, name: str) -> HolderRecord | None:
        version = self._version(name)
        known = self._cache.files.get(name)
        if known and known[0] == version:
            return known[1]
        record = self._read_file(name)
        # Within one tick of the file system's clock, two files may have had the same inode, size and times.
        if record and version and self._now() - version[-1] / 1e9 > _MTIME_GRANULARITY_SECONDS:
            self._cache.files[name] = version, record
        return record

    def _version(self, name: str) -> FileVersion | None:
        found = posix.stat_regular(name, self._directory)
        return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns) if found else None

    def _read_file(self, name: str) -> HolderRecord | None:
        data = posix.read_document(name, self._directory)
        record = None if data is None else decode_holder(data)
        return record if record is not None and record.uid + _SUFFIX == name and _has_safe_names(record) else None


def _record_list(found: list[HolderRecord | None]) -> RecordList:
    records = tuple(record for record in found if record is not None)
    return RecordList(records, complete=len(records) == len(found))


def _has_safe_names(record: HolderRecord) -> bool:
    """Others write to the volume too, and what a record names may be deleted: it must lie where we put things."""
    return all(_KEY.fullmatch(key) for key in record.part_keys) and all(is_safe(file.path) for file in record.files)


def _file_name(uid: str) -> str:
    """Raises ValueError for what can't be an object's uid, since it becomes a file name."""
    if not _UID.fullmatch(uid):
        raise ValueError(f"{uid[:80]!r} is not a uid")
    return uid + _SUFFIX
