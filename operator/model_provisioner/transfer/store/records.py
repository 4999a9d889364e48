"""The holders of an open store as the store worker uses them: settle, record, check, remove, sweep and prune.

Called by `transfer.worker.store_requests` and `transfer.cli.prune`. Paths, attestation and deletion are decided in
`domain.store.holders`; `holder_records` reads and writes the record files. Fetching is in `files`: if the store worker
marks a file as corrupt while a fetcher uses it, that file is hashed once more at worst.
"""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from model_provisioner.domain.errors import InsufficientStorage
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.store import holders
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.confirmation import Confirmation
from model_provisioner.domain.store.holders import Holder, HolderRecord, Holding
from model_provisioner.domain.store.paths import FETCHED_ROOTS, PRIVATE, is_safe
from model_provisioner.domain.store.plan import Plan
from model_provisioner.domain.store.space import Usage
from model_provisioner.transfer.store import confirmations, partfile, posix, published_files
from model_provisioner.transfer.store.files import StoreFiles
from model_provisioner.transfer.store.holder_records import HolderRecords
from model_provisioner.transfer.store.walk import model_files


@dataclass(frozen=True, slots=True)
class UnheldFile:
    """A file that can be pruned: its path below the volume's root, and the bytes that its deletion frees."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class UnheldFiles:
    """The files that no holder record names.

    `unreadable_records` are names of record files that can't be read; they may name any of the other files.
    """

    published: tuple[UnheldFile, ...]
    parts: tuple[UnheldFile, ...]
    unreadable_records: tuple[str, ...]

    @property
    def all_files(self) -> tuple[UnheldFile, ...]:
        return (*self.published, *self.parts)


@dataclass(frozen=True, slots=True)
class ListedRecord:
    """A holder record and when it was written, in seconds since the epoch."""

    record: HolderRecord
    written_at: float


@dataclass(frozen=True, slots=True)
class RecordResult:
    """The uids whose record was `written`, and those that are still `without` one."""

    written: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The keys of the parts and the uids of the records that were removed."""

    parts: tuple[str, ...] = ()
    records: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Paths, with the meaning that `messages.Checked` gives them."""

    missing: tuple[str, ...] = ()
    unattested: tuple[str, ...] = ()
    corrupt: tuple[str, ...] = ()


class StoreRecords:
    """Works on descriptors that belong to the `Store`.

    `root` is the volume's root, `private` the store's own directory, `parts` the directory of unfinished files. `files`
    are the files of the same store.
    """

    def __init__(self, root: int, private: int, parts: int, records: HolderRecords, files: StoreFiles) -> None:
        self._root = root
        self._private = private
        self._parts = parts
        self._records = records
        self._files = files

    def settle(self, holder: Holder, plan: Plan, delete: bool = False) -> Plan:
        """Writes durably that `holder` wants the files of `plan`, and returns `plan` with their final paths.

        If the holder's record has other files and parts from an earlier plan, they are removed as in `remove`.
        Raises PathConflict, UnsupportedSource for a hostile path, InsufficientStorage, VolumeNotWritable,
        VolumeUnsuitable, also for what would prevent the files from being published (`StoreFiles.check_paths`).
        """
        with (
            self._storage_errors(plan),
            posix.volume_errors(f"record what {holder.namespace}/{holder.name} holds"),
        ):
            own, (others, complete) = self._records.read(holder.uid), self._records.recent_others(holder.uid)
            settled = holders.settle(plan, own, others)
            self._files.check_paths(settled)
            wanted = HolderRecord(holder.uid, holder.namespace, holder.name, settled.revision)
            record = holders.hold(wanted, settled, own, others, self._exists)
            if own is not None:
                self._release_files(holders.without(own, record), others, delete and complete)
            if record != own:
                self._records.write(record)
            return settled

    def record_ready(self, holdings: Iterable[Holding], *, verified: bool = False) -> RecordResult:
        """Writes a record for each of these Ready objects that has none with all of its files. No file is hashed.

        An object gets none if one of its files is missing or has another size, or if no record attests its content,
        because an editor of the object can write its status. `verified`: every file was hashed just now and has its
        digest, so that the record is written in any case.
        """
        with posix.volume_errors("record what Ready objects hold"):
            missing = [
                one for one in holdings if verified or not holders.is_recorded(one, self._records.read(one.holder.uid))
            ]
            written = tuple(one.holder.uid for one in missing if self._record_again(one, verified=verified))
            return RecordResult(written, tuple(one.holder.uid for one in missing if one.holder.uid not in written))

    def recorded(self, uids: Iterable[str]) -> tuple[str, ...]:
        """Those of `uids` whose object has a record here."""
        with posix.volume_errors("look for records"):
            return tuple(uid for uid in uids if self._records.read(uid))

    def confirm(self, claim: Claim, now: float | None = None) -> None:
        """Writes that each Ready object on `claim` has its record at `now`, in seconds since the epoch (None: now)."""
        with posix.volume_errors("confirm the records of the store"):
            confirmations.write(self._private, claim, round(time.time() if now is None else now))

    def confirmations(self) -> tuple[Confirmation, ...]:
        """The confirmation of each claim that has ever confirmed."""
        with posix.volume_errors("read the confirmations of the store"):
            return confirmations.read_all(self._private)

    def check(self, files: tuple[FileRecord, ...], holder: str | None = None) -> CheckResult:
        """Which of `files` are missing, and which of the others the record of `holder` (a uid) does not attest.

        With `holder` None only missing files are looked for. A holder without a record attests nothing.
        """
        present = {file: found for file in files if (found := self._stat_published(file))}
        missing = tuple(file.path for file in files if file not in present)
        if holder is None:
            return CheckResult(missing)
        record = self._records.read(holder)
        records = (record,) if record else ()
        return CheckResult(
            missing,
            tuple(
                file.path
                for file, found in present.items()
                if not holders.is_attested(file, found.st_mtime_ns, records)
            ),
            tuple(file.path for file in present if holders.is_corrupt(file.path, records)),
        )

    def mark_corrupt(self, paths: tuple[str, ...]) -> None:
        """Withdraws the attestation of the files at `paths` in every record, so that the next fetch hashes them."""
        with posix.volume_errors("record what is wrong"):
            for record in self._records.all().records:
                changed = holders.corrupt(record, paths)
                if changed != record:
                    self._records.write(changed)

    def remove(self, uid: str, delete: bool) -> tuple[str, ...]:
        """Removes a holder, and returns the paths of the published files that were deleted with it.

        Files are deleted only with `delete`, and only if no other holder wants them. The record is removed last, so
        that this can be called again after a crash. While another record can't be read, no published file is deleted,
        because that record may name any of them.
        """
        with posix.volume_errors(f"remove what {uid} holds"):
            own, (others, complete) = self._records.read(uid), self._records.recent_others(uid)
            if own is not None and own.released:
                return ()
            deleted = self._release_files(own, others, delete and complete) if own else ()
            self._end_record(uid, None if delete else own, others)
            return deleted

    def sweep(
        self, namespaces: frozenset[str], uids: frozenset[str], names: frozenset[str] = frozenset()
    ) -> SweepResult:
        """Removes the holders of `namespaces` whose uid is not in `uids`, which must be all uids of these namespaces.

        `names` are the names of these objects as `namespace/name`, see `holders.orphaned`. Published files stay,
        because the deletion policy of a deleted object is not known. While a record can't be read nothing is removed,
        because that record may name any part.
        """
        with posix.volume_errors("sweep the store"):
            records, complete = self._records.all()
            orphaned = holders.orphaned(records, namespaces, uids, names) if complete else ()
            parts = partfile.keys(self._parts).intersection(key for record in orphaned for key in record.part_keys)
            for record in orphaned:
                self.remove(record.uid, delete=False)
            parts -= partfile.keys(self._parts)
        return SweepResult(tuple(sorted(parts)), tuple(record.uid for record in orphaned))

    def listed(self) -> tuple[ListedRecord, ...]:
        """The records that can be read, by namespace and name."""
        with posix.volume_errors("list the holder records"):
            written = self._records.written_at()
            records = sorted(
                self._records.all().records, key=lambda record: (record.namespace, record.name, record.uid)
            )
            return tuple(ListedRecord(record, written[record.uid]) for record in records if record.uid in written)

    def unheld(self) -> UnheldFiles:
        """The published files and the parts that no record names.

        Such a part may belong to a running `model-provisioner fetch` without a cluster.
        """
        with posix.volume_errors("look for what no object holds"):
            records = self._records.all().records
            sizes = {found.path: found.facts.st_size for top in FETCHED_ROOTS for found in model_files(self._root, top)}
            keys = holders.abandoned_parts(sorted(partfile.keys(self._parts)), records)
            files = tuple(UnheldFile(path, sizes[path]) for path in holders.unheld_files(sorted(sizes), records))
            parts = tuple(
                UnheldFile(f"{PRIVATE}/parts/{partfile.part_name(key)}", partfile.stored_bytes(self._parts, key))
                for key in keys
            )
            return UnheldFiles(files, parts, self._records.unreadable())

    def usage(self) -> Usage:
        """The free bytes, and the bytes that `prune` could free."""
        return Usage(self._files.free_bytes(), sum(file.size for file in self.unheld().all_files))

    def prune(self, unheld: UnheldFiles) -> None:
        """Deletes the files in `unheld` that still have no holder.

        While a record can't be read nothing is deleted, because that record may name any file.
        """
        with posix.volume_errors("delete what no object holds"):
            current = self.unheld()
            if current.unreadable_records:
                return
            for file in set(unheld.published).intersection(current.published):
                published_files.delete(self._root, file.path)
            for file in set(unheld.parts).intersection(current.parts):
                partfile.discard(self._parts, PurePosixPath(file.path).stem)

    @contextmanager
    def _storage_errors(self, plan: Plan) -> Iterator[None]:
        """Adds to an InsufficientStorage how many bytes `plan` needs and how many are free."""
        try:
            yield
        except InsufficientStorage as error:
            raise self._files.room((), plan.files).explain(plan.ref, error) from error

    def _record_again(self, holding: Holding, *, verified: bool) -> bool:
        """Returns False if a file is missing or not known. A status may have been written by others: no trust in it."""
        if not all(is_safe(file.path) for file in holding.files):
            return False
        found = {file.path: self._stat_published(file) for file in holding.files}
        mtimes_ns = {path: facts.st_mtime_ns for path, facts in found.items() if facts}
        if not mtimes_ns or len(mtimes_ns) < len(found):
            return False
        records = self._records.recent_others("").records
        record = holders.rewritten(holding, records, mtimes_ns, verified=verified)
        if record is None:
            return False
        self._records.write(record)
        for former in holders.taken_over(record, records):
            self._discard_parts(former.part_keys, self._records.recent_others(former.uid).records)
            self._records.unlink(former.uid)
        return True

    def _stat_published(self, file: FileRecord) -> os.stat_result | None:
        found = published_files.stat(self._root, file.path)
        return found if found and found.st_size == file.size_bytes else None

    def _exists(self, path: str) -> bool:
        return published_files.stat(self._root, path) is not None

    def _release_files(self, own: HolderRecord, others: tuple[HolderRecord, ...], delete: bool) -> tuple[str, ...]:
        self._discard_parts(own.part_keys, others)
        deletable = [file.path for file in own.files if self._is_deletable(file.path, own, others, delete)]
        return tuple(path for path in deletable if published_files.delete(self._root, path))

    def _is_deletable(self, path: str, own: HolderRecord, others: tuple[HolderRecord, ...], delete: bool) -> bool:
        found = published_files.stat(self._root, path)
        return found is not None and holders.deletable(path, found.st_mtime_ns, own, others, delete)

    def _discard_parts(self, part_keys: Iterable[str], others: tuple[HolderRecord, ...]) -> None:
        for key in holders.abandoned_parts(part_keys, others):
            partfile.discard(self._parts, key)

    def _end_record(self, uid: str, retained: HolderRecord | None, others: tuple[HolderRecord, ...]) -> None:
        """Removes the record of `uid`, and released records that no live holder shares files with any more.

        `retained` is the record of a holder with the policy `Retain`: it is kept as released while others share its
        files.
        """
        if retained is not None and holders.shares_files(retained, others):
            self._records.write(replace(retained, released=True, part_keys=()))
        else:
            self._records.unlink(uid)
        for other in others:
            if other.released and not holders.shares_files(other, others):
                self._records.unlink(other.uid)
