"""The holder records of a store, one file for each object: `.provisioner/holders/<uid>.json`.

Reads and writes them for `files` and `records`; what they mean is decided in `domain.store.holders`. Each settle, fetch
and removal needs all records, so they are cached: a decoded record is reused while its file stays the same, and the
store worker reuses the list of all records for 0.25 seconds (`recent_others`).
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
from model_provisioner.transfer.store.documents import MAX_HOLDER_BYTES, decode_holder, encode_holder

_UID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}")
_KEY = re.compile(r"[0-9a-f]{40}")
_SUFFIX = ".json"
_MTIME_GRANULARITY_SECONDS = 2.0
_SNAPSHOT_SECONDS = 0.25

FileVersion = tuple[int, int, int, int]
"""Inode, size in bytes, mtime and ctime in nanoseconds. A different value means that the file was replaced."""


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """All records of one directory at one time.

    `directory` is its device and inode, `at` the monotonic time in seconds, `records` by file name; None is a record
    that can't be read.
    """

    directory: tuple[int, int]
    at: float
    records: Mapping[str, HolderRecord | None]


class RecordCache:
    """The records of one store that one process has read or written. Threads may share it."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[FileVersion, HolderRecord]] = {}
        self.snapshot: _Snapshot | None = None


class RecordList(NamedTuple):
    """`complete` is False if a record can't be read, so that the files it names are not known."""

    records: tuple[HolderRecord, ...]
    complete: bool


class HolderRecords:
    """The records in the directory with the descriptor `directory`, which the caller closes.

    `cache` outlives this object; None starts with an empty one. `now` is the wall clock in seconds since the epoch,
    compared with file times; `monotonic` is in seconds.
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
        """The record of `uid`; None if there is none, it is damaged, or it belongs to another user.

        Raises ValueError if `uid` is not a uid.
        """
        return self._read(_file_name(uid))

    def others(self, uid: str) -> RecordList:
        """The records of all holders except `uid`."""
        return _record_list([self._read(name) for name in self._names(uid)])

    def recent_others(self, uid: str) -> RecordList:
        """`others` as of at most 0.25 seconds ago, with all that this process has written since.

        For the store worker, the only process that creates and removes records. The result may lack a digest that a
        fetcher has just recorded.
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
        """The records of all holders."""
        return self.others("")

    def unreadable(self) -> tuple[str, ...]:
        """The file names of the records that can't be read."""
        return tuple(name for name in self._names("") if self._read(name) is None)

    def written_at(self) -> dict[str, float]:
        """When the record of each uid was written, in seconds since the epoch."""
        found = {name: posix.stat_regular(name, self._directory) for name in self._names("")}
        return {name.removesuffix(_SUFFIX): facts.st_mtime for name, facts in found.items() if facts}

    def write(self, record: HolderRecord) -> None:
        """Writes a record durably and atomically."""
        name = _file_name(record.uid)
        posix.write_document(name, self._directory, encode_holder(record))
        posix.sync_directory(self._directory)
        self._update_snapshot(lambda records: {**records, name: record})

    def unlink(self, uid: str) -> None:
        """Removes a record durably, if there is one."""
        removed = _file_name(uid)
        if posix.unlink_if_exists(removed, self._directory):
            posix.sync_directory(self._directory)
        self._update_snapshot(lambda records: {name: record for name, record in records.items() if name != removed})

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
        for removed in self._cache.files.keys() - set(names):
            self._cache.files.pop(removed, None)
        return [name for name in names if name != uid + _SUFFIX]

    def _read(self, name: str) -> HolderRecord | None:
        version = self._version(name)
        known = self._cache.files.get(name)
        if known and known[0] == version:
            return known[1]
        record = self._read_file(name)
        # Within one tick of the file system's clock, a file and its replacement may have the same version.
        if record and version and self._now() - version[-1] / 1e9 > _MTIME_GRANULARITY_SECONDS:
            self._cache.files[name] = version, record
        return record

    def _version(self, name: str) -> FileVersion | None:
        found = posix.stat_regular(name, self._directory)
        return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns) if found else None

    def _read_file(self, name: str) -> HolderRecord | None:
        data = posix.read_document(name, self._directory, MAX_HOLDER_BYTES)
        record = None if data is None else decode_holder(data)
        return record if record is not None and record.uid + _SUFFIX == name and _has_safe_names(record) else None


def _record_list(found: list[HolderRecord | None]) -> RecordList:
    records = tuple(record for record in found if record is not None)
    return RecordList(records, complete=len(records) == len(found))


def _has_safe_names(record: HolderRecord) -> bool:
    """Whether a record names only parts and model files of this store.

    Other processes can write to the volume, and files that a record names may be deleted.
    """
    return all(_KEY.fullmatch(key) for key in record.part_keys) and all(is_safe(file.path) for file in record.files)


def _file_name(uid: str) -> str:
    """The name of the record file. Raises ValueError if `uid` can't be the uid of an object."""
    if not _UID.fullmatch(uid):
        raise ValueError(f"{uid[:80]!r} is not a uid")
    return uid + _SUFFIX
