"""One unfinished file: `<key>.part`, sparse and of its final length, and its journal `<key>.json`.

The journal names bytes only after they are on disk, so that it is true after any crash. It also has the epoch of its
writer: a writer that finds a newer epoch stops. `StoreFiles.part` opens a part, `transfer.download` writes it. Which
bytes may be resumed is decided in `domain.store.journal`, which bytes to fetch in `domain.download.ranges`.
"""

import errno
import os
from collections.abc import Callable
from contextlib import ExitStack, suppress

from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.errors import ProvisionError, VolumeUnsuitable
from model_provisioner.domain.store import space
from model_provisioner.domain.store.journal import Journal, Restart, Resume, Superseded, decide, recordable
from model_provisioner.domain.store.paths import PRIVATE
from model_provisioner.domain.store.plan import PlannedFile
from model_provisioner.transfer.store import posix, private_files
from model_provisioner.transfer.store.documents import MAX_JOURNAL_BYTES, decode_journal, encode_journal
from model_provisioner.transfer.store.posix import FileVersion


class WriterSuperseded(ProvisionError):
    """A newer operator has taken over this file: this process must stop writing to the volume."""


def part_name(key: str) -> str:
    return f"{key}.part"


def journal_name(key: str) -> str:
    return f"{key}.json"


class PartFile:
    """An open part. `spans` are the journalled bytes, `restarts` counts how often journalled bytes were thrown away.

    Not safe for two writers of the same epoch; `write` and `read` may be called from several threads. `parts` is a
    descriptor of the directory of parts that belongs to the `Store`; `fd` belongs to this object.
    """

    def __init__(self, fd: int, parts: int, file: PlannedFile, epoch: int) -> None:
        self.spans = Spans()
        self.restarts = 0
        self.size = file.size
        self.key = file.part_key
        self.fd = fd
        self._parts = parts
        self._file = file
        self._epoch = epoch
        self._sync_failed = False
        self._known_version: tuple[int, int] | None = None
        self._complete: FileVersion | None = None
        self._sealed: FileVersion | None = None

    @classmethod
    def open(cls, parts: int, file: PlannedFile, epoch: int) -> "PartFile":
        """Opens the part of `file` in the directory `parts` (a descriptor), resumed or empty.

        `epoch` is the writer's own. Raises WriterSuperseded if the journal has a newer epoch, InsufficientStorage,
        VolumeNotWritable, PathConflict, VolumeUnsuitable, also if other users can write to the part.
        """
        with posix.volume_errors(f"open the part of {file.path}"), ExitStack() as undo:
            journal = read_journal(parts, file.part_key)
            decision = decide(journal, _part_size(parts, file.part_key), file, epoch)
            if isinstance(decision, Superseded):
                raise _superseded(file.path, decision.epoch, epoch)
            part = cls(_open_or_create(parts, file.part_key), parts, file, epoch)
            undo.callback(part.close)
            private_files.keep_file(part.fd, part.shown_path)
            if isinstance(decision, Restart):
                part._start_over(decision.restarts)
            else:
                part._resume(decision, journal)
            undo.pop_all()
            return part

    @property
    def shown_path(self) -> str:
        """The path of the part below the volume's root, for messages."""
        return f"{PRIVATE}/parts/{part_name(self.key)}"

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Writes all of `data` at `offset` (bytes). Raises InsufficientStorage, VolumeNotWritable, VolumeUnsuitable."""
        with posix.volume_errors(f"write {self._file.path}"):
            posix.write_all(self.fd, offset, data)

    def read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset`; fewer only at the end of the file. Gaps read as zeros."""
        with posix.volume_errors(f"read {self._file.path}"):
            return os.pread(self.fd, count, offset)

    def check_writer(self) -> None:
        """Raises WriterSuperseded if another writer has taken over, published or removed the part.

        Call it before each write: the descriptor of a published part is that of a model in use. It costs one stat of
        the journal, which is read only if this writer did not write it last.
        """
        with posix.volume_errors(f"look at the journal of {self._file.path}"):
            if self._journal_version() != self._known_version:
                self._check_epoch()

    def commit(self, spans: Spans) -> None:
        """Makes the bytes of `spans` durable, then writes `spans` to the journal.

        Raises WriterSuperseded, InsufficientStorage, VolumeNotWritable, VolumeUnsuitable.
        """
        with posix.volume_errors(f"sync {self._file.path}"):
            self._sync(posix.datasync)
            self._check_epoch()
            self._write_journal(spans)
        self.spans = spans

    def mark_complete(self) -> None:
        """Remembers what the file is like after the last write, so that `seal` finds a later one of another process."""
        with posix.volume_errors(f"look at the part of {self._file.path}"):
            self._complete = self._version

    def seal(self) -> bool:
        """Makes content and length durable, as publishing needs, and remembers the content that is published.

        Returns whether that is the content at `mark_complete`. If not, the caller hashes the file again: its mode has
        changed, its times have, or another process has written to it. Raises WriterSuperseded, InsufficientStorage,
        VolumeNotWritable, VolumeUnsuitable.
        """
        with posix.volume_errors(f"sync {self._file.path}"):
            self._check_epoch()
            private_files.keep_file(self.fd, self.shown_path)
            self._sync(os.fsync)
            self._sealed = self._version
        return self._sealed == self._complete

    def check_sealed(self) -> FileVersion:
        """What is published: the file that was sealed, with the same content and under the name of the part.

        Raises WriterSuperseded, VolumeUnsuitable if another process has exchanged it or written to it, OSError.
        """
        self._check_epoch()
        named = posix.stat_regular(part_name(self.key), self._parts)
        if self._sealed is None or self._version != self._sealed or not (named and self.is_file(named)):
            raise self.changed()
        return self._sealed

    def is_file(self, named: os.stat_result) -> bool:
        """Whether the file that was found under a name is the sealed one, with the content that it had then."""
        found, opened = FileVersion.of(named), self._version
        return self._sealed is not None and all(one.has_content_of(self._sealed) for one in (found, opened))

    def changed(self) -> VolumeUnsuitable:
        """The error for a part that is not what was hashed."""
        return VolumeUnsuitable(
            f"another process has exchanged or changed {self._file.path} after it was verified and before it was "
            f"published, so it is not published: let no other program change {PRIVATE} or write to the volume "
            "(persistence.directoryMode 0755); if none does, the file system does not keep the numbers of its inodes: "
            "use a volume of another storage class"
        )

    @property
    def _version(self) -> FileVersion:
        return FileVersion.of(os.fstat(self.fd))

    def restart(self) -> None:
        """Throws all bytes away, durably. Raises as `commit` does."""
        with posix.volume_errors(f"start {self._file.path} again"):
            self._check_epoch()
            self._start_over(self.restarts + 1)

    def discard(self) -> None:
        """Closes the part, and removes it and its journal."""
        self.close()
        with posix.volume_errors(f"remove the part of {self._file.path}"):
            discard(self._parts, self.key)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def _resume(self, decision: Resume, journal: Journal | None) -> None:
        # Not written if the journal has our epoch already: on a full volume that would fail without need.
        self.spans, self.restarts = decision.spans, decision.restarts
        if journal is None or journal.epoch != self._epoch:
            self._write_journal(self.spans)
        self._known_version = self._journal_version()

    def _start_over(self, restarts: int) -> None:
        """Throws all bytes away. The journal is written first: it must never name bytes that are lost."""
        self.spans, self.restarts = Spans(), restarts
        self._write_journal(self.spans)
        posix.sync_directory(self._parts)
        os.ftruncate(self.fd, 0)
        os.ftruncate(self.fd, self.size)
        self._sync_failed = False

    def _sync(self, sync: Callable[[int], None]) -> None:
        # After a failed sync the kernel may drop the pages and report success the next time.
        if self._sync_failed:
            raise OSError(errno.EIO, "bytes were lost by an earlier failure to sync")
        self._sync_failed = True
        sync(self.fd)
        self._sync_failed = False

    def _check_epoch(self) -> None:
        if self._journal_version() is None:
            raise WriterSuperseded(f"{self._file.path} was published or given up by another writer: stopping")
        journal = read_journal(self._parts, self.key)
        if journal is not None and journal.supersedes(self._epoch):
            raise _superseded(self._file.path, journal.epoch, self._epoch)

    def _journal_version(self) -> tuple[int, int] | None:
        """Inode and mtime of the journal, which is a new file each time it is written; None if there is none."""
        found = posix.stat_regular(journal_name(self.key), self._parts)
        return (found.st_ino, found.st_mtime_ns) if found else None

    def _write_journal(self, spans: Spans) -> None:
        file = self._file
        source, digest, spans = file.source, file.digest, recordable(spans)
        journal = Journal(source, file.size, digest, self._epoch, self.restarts, spans, file.endpoint)
        posix.write_document(journal_name(self.key), self._parts, encode_journal(journal))
        self._known_version = self._journal_version()


def read_journal(parts: int, key: str) -> Journal | None:
    """The journal of the part `key`; None if there is none, it is damaged, or another user's."""
    data = posix.read_document(journal_name(key), parts, MAX_JOURNAL_BYTES)
    return None if data is None else decode_journal(data)


def occupied_bytes(parts: int, file: PlannedFile) -> int:
    """How many bytes of the volume the part of `file` occupies, at most the size of the file."""
    found = posix.stat_regular(part_name(file.part_key), parts)
    return space.occupied_bytes(file.size, found.st_blocks, durable_bytes(parts, file)) if found else 0


def stored_bytes(parts: int, key: str) -> int:
    """How many bytes of the volume the part `key` occupies, at most its length; 0 if there is no part."""
    found, journal = posix.stat_regular(part_name(key), parts), read_journal(parts, key)
    return space.occupied_bytes(found.st_size, found.st_blocks, journal.spans.total if journal else 0) if found else 0


def durable_bytes(parts: int, file: PlannedFile) -> int:
    """How many bytes of `file` the journal names, if its part can be resumed; else 0."""
    journal = read_journal(parts, file.part_key)
    found = posix.stat_regular(part_name(file.part_key), parts)
    decision = decide(journal, found.st_size if found else None, file, journal.epoch if journal else 0)
    return decision.spans.total if isinstance(decision, Resume) else 0


def keys(parts: int) -> set[str]:
    """The keys of all parts and journals in the directory `parts`."""
    with os.scandir(parts) as entries:
        return {entry.name.partition(".")[0] for entry in entries}


def discard(parts: int, key: str) -> None:
    """Removes a part, then its journal; both may be missing. A directory under such a name is none, and stays."""
    for name in (part_name(key), journal_name(key), f"{journal_name(key)}.new"):
        with suppress(IsADirectoryError):
            posix.unlink_if_exists(name, parts)


def _part_size(parts: int, key: str) -> int | None:
    """The length of the part in bytes. Anything else under its name, such as a link or a pipe, is removed.

    So is a file of another user, who may still have it open. Some file systems count no links: 0 of them is no second
    name.
    """
    found = posix.stat_regular(part_name(key), parts)
    if found is not None and found.st_nlink <= 1 and found.st_uid == os.geteuid():
        return found.st_size
    posix.unlink_if_exists(part_name(key), parts)
    return None


def _open_or_create(parts: int, key: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    return os.open(part_name(key), flags, posix.PRIVATE_MODE, dir_fd=parts)


def _superseded(path: str, newer: int, own: int) -> WriterSuperseded:
    return WriterSuperseded(f"{path} is written by a newer operator (epoch {newer}, this one is {own}): stopping")
