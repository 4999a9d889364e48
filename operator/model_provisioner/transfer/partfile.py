"""One unfinished file: `<key>.part`, sparse and of its final length, and its journal `<key>.json`.

The journal tells of bytes only after they are on disk, so that what it tells is true after any crash.
It also carries the epoch of its writer: one that finds a newer epoch stops. Which bytes may be
continued is decided in `domain.journal`; which bytes to fetch, in the engine.
"""

import errno
import os
from collections.abc import Callable

from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.journal import Journal, Restart, Superseded, decide
from model_provisioner.domain.plan import PlannedFile
from model_provisioner.domain.spans import Spans
from model_provisioner.transfer import volume
from model_provisioner.transfer.records import decode_journal, encode_journal


class WriterSuperseded(ProvisionError):
    """A newer operator has taken over this file: this process must stop writing to the volume."""


def part_name(key: str) -> str:
    return f"{key}.part"


def journal_name(key: str) -> str:
    return f"{key}.json"


class PartFile:
    """Not safe for two writers of the same epoch; `write` and `read` may be called from several threads."""

    def __init__(self, fd: int, parts: int, file: PlannedFile, epoch: int, spans: Spans, restarts: int) -> None:
        self.spans = spans
        self.restarts = restarts
        self.size = file.size
        self.key = file.part_key
        self.fd = fd
        self._parts = parts
        self._file = file
        self._epoch = epoch
        self._lost = False

    @classmethod
    def open(cls, parts: int, file: PlannedFile, epoch: int) -> "PartFile":
        """The part of `file` in the directory `parts` (a descriptor), continued or begun.

        Raises WriterSuperseded, InsufficientStorage, VolumeNotWritable, VolumeUnsuitable.
        """
        with volume.volume_errors(f"open the part of {file.path}"):
            found = _part_stat(parts, file.part_key)
            decision = decide(read_journal(parts, file.part_key), found, file, epoch)
            if isinstance(decision, Superseded):
                raise _superseded(file.path, decision.epoch, epoch)
            spans = Spans() if isinstance(decision, Restart) else decision.spans
            part = cls(-1, parts, file, epoch, spans, decision.restarts)
            part._begin(anew=isinstance(decision, Restart))
            return part

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """All of `data` at `offset` (bytes). Raises InsufficientStorage, VolumeNotWritable, VolumeUnsuitable."""
        with volume.volume_errors(f"write {self._file.path}"):
            volume.write_all(self.fd, offset, data)

    def read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes from `offset`; fewer only at the end of the file. Gaps read as zeros."""
        with volume.volume_errors(f"read {self._file.path}"):
            return os.pread(self.fd, count, offset)

    def read_into(self, offset: int, buffer: bytearray | memoryview) -> int:
        """Like `read`, into `buffer`; how many bytes that were."""
        with volume.volume_errors(f"read {self._file.path}"):
            return os.preadv(self.fd, [buffer], offset)

    def commit(self, spans: Spans) -> None:
        """Makes the bytes of `spans` durable, then says so in the journal.

        Raises WriterSuperseded, InsufficientStorage, VolumeNotWritable, VolumeUnsuitable.
        """
        with volume.volume_errors(f"sync {self._file.path}"):
            self._check_epoch()
            self._sync(volume.datasync)
            self._write_journal(spans, self.restarts)
        self.spans = spans

    def sync(self) -> None:
        """Makes content and length durable, as publishing needs."""
        self._sync(os.fsync)

    def restart(self) -> None:
        """Throws every byte away. The journal says so first: it must never tell of bytes that are gone."""
        with volume.volume_errors(f"start {self._file.path} again"):
            self._check_epoch()
            self._forget(self.restarts + 1)
            self._empty()

    def discard(self) -> None:
        """Closes, and removes part and journal."""
        self.close()
        with volume.volume_errors(f"remove the part of {self._file.path}"):
            discard(self._parts, self.key)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def _begin(self, *, anew: bool) -> None:
        """Takes the part over: from here on the journal carries our epoch."""
        if anew:
            self._forget(self.restarts)
        else:
            self._write_journal(self.spans, self.restarts)
        self.fd = os.open(
            part_name(self.key), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, volume.PRIVATE_MODE, dir_fd=self._parts
        )
        try:
            if anew:
                self._empty()
                volume.sync_directory(self._parts)
        except OSError:
            self.close()
            raise

    def _forget(self, restarts: int) -> None:
        self._write_journal(Spans(), restarts)
        volume.sync_directory(self._parts)
        self.spans, self.restarts = Spans(), restarts

    def _empty(self) -> None:
        os.ftruncate(self.fd, 0)
        os.ftruncate(self.fd, self.size)
        self._lost = False

    def _sync(self, sync: Callable[[int], None]) -> None:
        # After a failed sync the kernel may drop the pages and report success the next time.
        if self._lost:
            raise OSError(errno.EIO, "bytes were lost by an earlier failure to sync")
        self._lost = True
        sync(self.fd)
        self._lost = False

    def _check_epoch(self) -> None:
        journal = read_journal(self._parts, self.key)
        if journal is not None and journal.epoch > self._epoch:
            raise _superseded(self._file.path, journal.epoch, self._epoch)

    def _write_journal(self, spans: Spans, restarts: int) -> None:
        file = self._file
        journal = Journal(file.source, file.size, file.digest, self._epoch, restarts, spans)
        volume.write_document(journal_name(self.key), self._parts, encode_journal(journal))


def read_journal(parts: int, key: str) -> Journal | None:
    """None where there is none, or none that can be trusted."""
    data = volume.read_document(journal_name(key), parts)
    return None if data is None else decode_journal(data)


def durable_bytes(parts: int, file: PlannedFile) -> int:
    """How many bytes of `file` a transfer would not have to fetch again."""
    journal = read_journal(parts, file.part_key)
    found = volume.stat_regular(part_name(file.part_key), parts)
    decision = decide(journal, found.st_size if found else None, file, journal.epoch if journal else 0)
    return 0 if isinstance(decision, Restart | Superseded) else decision.spans.total


def discard(parts: int, key: str) -> None:
    """Removes a part, then its journal; both may be gone already."""
    for name in (part_name(key), journal_name(key), f"{journal_name(key)}.new"):
        volume.unlink_if_there(name, parts)


def _part_stat(parts: int, key: str) -> int | None:
    """The length of our part in bytes; whatever else stands under its name (a link, a pipe) is removed."""
    found = volume.stat_regular(part_name(key), parts)
    if found is not None and found.st_nlink == 1:
        return found.st_size
    volume.unlink_if_there(part_name(key), parts)
    return None


def _superseded(path: str, newer: int, own: int) -> WriterSuperseded:
    return WriterSuperseded(f"{path} is written by a newer operator (epoch {newer}, this one is {own}): stopping")
