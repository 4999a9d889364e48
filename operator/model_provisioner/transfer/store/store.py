"""A store: published files, parts and holder records on one volume, opened below one descriptor.

The keeper settles, checks, disproves, removes and tidies up; a slot worker calls part, publish and record_digest,
and writes only the record of the holder on whose behalf it fetches. Where the keeper disproves a file just then, the
file is hashed once more at worst. Paths and deletion are decided in `domain.holders`; which bytes to fetch, in `lanes`.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

from model_provisioner.domain.errors import InsufficientStorage
from model_provisioner.domain.modeldownload import FileRecord
from model_provisioner.domain.store import holders
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.holders import Holder, HolderRecord
from model_provisioner.domain.store.modes import READABLE, Modes
from model_provisioner.domain.store.paths import FETCHED_ROOTS, PRIVATE
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.domain.store.space import Room, Usage
from model_provisioner.transfer.store import identity, partfile, posix, published_files
from model_provisioner.transfer.store.holder_records import HolderRecords, RecordCache
from model_provisioner.transfer.store.partfile import PartFile


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file at its final path. `digest` is what a holder's record attests for; None: its content must be hashed."""

    size: int
    digest: Digest | None

    def attests(self, wanted: Digest | None) -> bool:
        """Is its content known, and what is `wanted` (None: whatever it is)?"""
        return self.digest is not None and wanted in {None, self.digest}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, by its path below the volume's root; `size` is what its removal frees, in bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Unheld:
    """What no holder record names. `unreadable` are the records of which nobody can tell what they name."""

    files: tuple[Entry, ...]
    parts: tuple[Entry, ...]
    unreadable: tuple[str, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        return (*self.files, *self.parts)


@dataclass(frozen=True, slots=True)
class Swept:
    """The keys of parts and the uids of records that went."""

    parts: tuple[str, ...] = ()
    records: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """See `messages.Checked`."""

    missing: tuple[str, ...] = ()
    unattested: tuple[str, ...] = ()
    corrupt: tuple[str, ...] = ()


class Store:
    """Use as a context manager, or call `close`; its parts must be closed first."""

    def __init__(
        self,
        store_id: str,
        root: int,
        parts: int,
        holder_files: HolderRecords,
        modes: Modes,
        opened: ExitStack,
    ) -> None:
        self.id = store_id
        self._root = root
        self._parts = parts
        self._holders = holder_files
        self._modes = modes
        self._opened = opened

    @classmethod
    def open(
        cls,
        directory: Path,
        expected_id: str | None,
        modes: Modes = READABLE,
        cache: RecordCache | None = None,
    ) -> "Store":
        """The store in `directory`; made there if there is none and none is expected.

        `cache` is what was read of its records when it was opened before, and is kept up.
        With no expectation the volume is probed for what publishing needs; with one, a volume that
        became read-only can still be checked. Raises VolumeChanged, VolumeNotWritable, VolumeUnsuitable.
        """
        with posix.volume_errors(f"open the store in {directory}"), ExitStack() as opened:
            root = identity.open_root(directory, expected_id)
            opened.callback(os.close, root)
            private = identity.open_private(root, directory, expected_id, modes)
            opened.callback(os.close, private)
            store_id = identity.identify(private, directory, expected_id)
            parts = posix.open_directory("parts", private, create=modes)
            opened.callback(os.close, parts)
            records = posix.open_directory("holders", private, create=modes)
            opened.callback(os.close, records)
            if expected_id is None:
                identity.probe(private)
            return cls(store_id, root, parts, HolderRecords(records, cache), modes, opened.pop_all())

    @classmethod
    def find(cls, directory: Path, expected_id: str | None, cache: RecordCache | None = None) -> "Store | None":
        """The store in `directory`, which is never made; None where there is none and none is expected.

        Raises VolumeChanged, VolumeNotWritable, VolumeUnsuitable.
        """
        with posix.volume_errors(f"look for a store in {directory}"):
            found = expected_id or identity.find_id(directory)
        return cls.open(directory, found, cache=cache) if found else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._opened.close()

    def settle(self, holder: Holder, plan: Plan, delete: bool = False) -> Plan:
        """`plan` with final paths, once the holder's record says durably that it wants these files.

        Where it held others before, which it had no time to tell of, they go as in `remove`.
        Raises PathConflict, UnsupportedSource (a hostile path), InsufficientStorage, VolumeNotWritable.
        """
        with self._enough_room(plan), posix.volume_errors(f"record what {holder.namespace}/{holder.name} holds"):
            own, (others, all_read) = self._holders.read(holder.uid), self._holders.recent_others(holder.uid)
            settled = holders.settle(plan, own, others)
            wanted = HolderRecord(holder.uid, holder.namespace, holder.name, settled.revision)
            record = holders.hold(wanted, settled, own, others, self._exists)
            if own is not None:
                self._give_up(holders.without(own, record), others, delete and all_read)
            if record != own:
                self._holders.write(record)
            return settled

    def room(self, fetched: tuple[PlannedFile, ...], waiting: tuple[PlannedFile, ...]) -> Room:
        """What is needed for files that are `fetched` whatever lies at their paths, and for `waiting` ones, if missing.

        What a part occupies counts as there, journalled or not: it is written over.
        """
        needed = sum(file.size - partfile.occupied_bytes(self._parts, file) for file in fetched)
        needed += sum(
            file.size - max(self._present_bytes(file), partfile.occupied_bytes(self._parts, file)) for file in waiting
        )
        return Room(needed, self.free_bytes())

    def durable_bytes(self, plan: Plan) -> int:
        """How many bytes of a settled `plan` are published or safe in parts.

        A file at the right path whose content nobody has looked at does not count: it may have to be replaced.
        """
        return sum(self._trusted_bytes(file) for file in plan.files)

    def published(self, file: PlannedFile) -> PublishedFile | None:
        """The regular file at `file.path`, whatever its size; None where there is none."""
        found = published_files.look(self._root, file.path)
        if found is None:
            return None
        digest = holders.attested_digest(file.path, found.st_size, found.st_mtime_ns, self._holders.all().records)
        return PublishedFile(found.st_size, digest)

    def part(self, file: PlannedFile, epoch: int) -> PartFile:
        """The unfinished file, continued where that is safe; see `PartFile.open` for what is raised."""
        return PartFile.open(self._parts, file, epoch)

    def open_published(self, path: str) -> int:
        """A read-only descriptor, the caller's to close. Raises FileNotFoundError, PathConflict for a symbolic link."""
        return published_files.open_file(self._root, path)

    def publish(self, part: PartFile, path: str, uid: str | None = None) -> None:
        """Makes a verified part the file at `path`, replacing what is there, and closes it.

        On return it is durable and read-only. The record of `uid`, on whose behalf it was fetched,
        says beforehand that a file that was there before goes. Raises PathConflict where a directory
        or a symbolic link is in the way, InsufficientStorage, VolumeNotWritable, VolumeUnsuitable.
        """
        with posix.volume_errors(f"publish {path}"):
            part.sync()
            if uid is not None:
                self._announce(uid, path, os.fstat(part.fd).st_mtime_ns)
            published_files.move_into_place(partfile.part_name(part.key), self._parts, self._root, path, self._modes)
            posix.hand_over(part.fd, self._modes.file, self._modes.group)
            part.close()
            partfile.discard(self._parts, part.key)

    def record_digest(self, uid: str, file: FileRecord) -> None:
        """What was verified becomes part of the holder's record, which from then on attests for it.

        Without a record, or a file, there is nobody to vouch, and nothing happens.
        """
        with posix.volume_errors("record what was verified"):
            record, found = self._holders.read(uid), published_files.look(self._root, file.path)
            if record is None or found is None:
                return
            record = holders.verified(record, file, found.st_mtime_ns, self._holders.others(uid).records)
            held = record.file(file.path)
            if held is not None and not held.adopted:
                published_files.make_read_only(
                    self._root, file.path, self._modes
                )  # also after a crash since it was published
            self._holders.write(record)

    def check(self, files: tuple[FileRecord, ...], holder: str | None = None) -> Found:
        """What is there of `files`, and what the record of `holder` says of it: nothing where it has none."""
        there = {file: found for file in files if (found := self._look(file))}
        missing = tuple(file.path for file in files if file not in there)
        if holder is None:
            return Found(missing)
        record = self._holders.read(holder)
        records = (record,) if record else ()
        return Found(
            missing,
            tuple(
                file.path for file, found in there.items() if not holders.is_attested(file, found.st_mtime_ns, records)
            ),
            tuple(file.path for file in there if holders.is_corrupt(file.path, records)),
        )

    def mark_corrupt(self, paths: tuple[str, ...]) -> None:
        """No record attests for the files at `paths` any more, so that the next transfer believes none of them."""
        with posix.volume_errors("record what is wrong"):
            for record in self._holders.all().records:
                doubted = holders.corrupt(record, paths)
                if doubted != record:
                    self._holders.write(doubted)

    def remove(self, uid: str, delete: bool) -> tuple[str, ...]:
        """Ends what a holder holds; the paths of the files that went with it.

        Its record goes last, so that after a crash this can be called again; its uid never comes back.
        While another record can't be read no published file is deleted: that record may tell of any.
        """
        with posix.volume_errors(f"remove what {uid} holds"):
            own, (others, all_read) = self._holders.read(uid), self._holders.recent_others(uid)
            if own is not None and own.released:
                return ()
            gone = self._give_up(own, others, delete and all_read) if own else ()
            self._release(uid, None if delete else own, others)
            return gone

    def sweep(self, namespaces: frozenset[str], uids: frozenset[str]) -> Swept:
        """Gives up what objects of `namespaces` held that are not among `uids`, which must be all there are.

        Published files stay, since nobody knows whether they were to be deleted. While a record can't
        be read nothing goes, because it may tell of any part.
        """
        with posix.volume_errors("sweep the store"):
            records, all_read = self._holders.all()
            gone = holders.orphaned(records, namespaces, uids) if all_read else ()
            parts = partfile.keys(self._parts).intersection(key for record in gone for key in record.part_keys)
            for record in gone:
                self.remove(record.uid, delete=False)
            parts -= partfile.keys(self._parts)
        return Swept(tuple(sorted(parts)), tuple(record.uid for record in gone))

    def unheld(self) -> Unheld:
        """The published files and the parts that no record names; parts may be those of a fetch without a cluster."""
        with posix.volume_errors("look for what nobody holds"):
            records = self._holders.all().records
            paths = holders.unheld_files(published_files.models(self._root, FETCHED_ROOTS), records)
            keys = holders.abandoned_parts(sorted(partfile.keys(self._parts)), records)
            files = tuple(
                Entry(path, found.st_size) for path in paths if (found := published_files.look(self._root, path))
            )
            parts = tuple(Entry(f"{PRIVATE}/parts/{partfile.part_name(key)}", self._taken(key)) for key in keys)
            return Unheld(files, parts, self._holders.unreadable())

    def usage(self) -> Usage:
        """What is free and what `prune` could free."""
        return Usage(self.free_bytes(), sum(entry.size for entry in self.unheld().entries))

    def prune(self, unheld: Unheld) -> None:
        """Deletes what `unheld` told of, but for what has found a holder since.

        While a record can't be read nothing goes, because it may tell of any file.
        """
        with posix.volume_errors("delete what nobody holds"):
            again = self.unheld()
            if again.unreadable:
                return
            for entry in set(unheld.files).intersection(again.files):
                published_files.delete(self._root, entry.path)
            for entry in set(unheld.parts).intersection(again.parts):
                partfile.discard(self._parts, PurePosixPath(entry.path).stem)

    def free_bytes(self) -> int:
        """What an unprivileged writer may still write to the volume."""
        facts = os.fstatvfs(self._root)
        return facts.f_bavail * facts.f_frsize

    @contextmanager
    def _enough_room(self, plan: Plan) -> Iterator[None]:
        try:
            yield
        except InsufficientStorage as error:
            raise self.room((), plan.files).explain(plan.ref, error) from error

    def _look(self, file: FileRecord) -> os.stat_result | None:
        found = published_files.look(self._root, file.path)
        return found if found and found.st_size == file.size_bytes else None

    def _exists(self, path: str) -> bool:
        return published_files.look(self._root, path) is not None

    def _taken(self, key: str) -> int:
        found = posix.stat_regular(partfile.part_name(key), self._parts)
        return found.st_blocks * partfile.BLOCK_BYTES if found else 0

    def _trusted_bytes(self, file: PlannedFile) -> int:
        found = self.published(file)
        if found is not None and found.size == file.size and (file.url is None or found.attests(file.digest)):
            return file.size
        return partfile.durable_bytes(self._parts, file)

    def _present_bytes(self, file: PlannedFile) -> int:
        found = published_files.look(self._root, file.path)
        if found is not None and found.st_size == file.size:
            return file.size
        return partfile.durable_bytes(self._parts, file)

    def _announce(self, uid: str, path: str, mtime_ns: int) -> None:
        record = self._holders.read(uid)
        announced = holders.replacing(record, path, mtime_ns) if record else None
        if announced and announced != record:
            self._holders.write(announced)

    def _give_up(self, own: HolderRecord, others: tuple[HolderRecord, ...], delete: bool) -> tuple[str, ...]:
        self._discard_parts(own.part_keys, others)
        leaving = [file.path for file in own.files if self._is_deletable(file.path, own, others, delete)]
        return tuple(path for path in leaving if published_files.delete(self._root, path))

    def _is_deletable(self, path: str, own: HolderRecord, others: tuple[HolderRecord, ...], delete: bool) -> bool:
        found = published_files.look(self._root, path)
        return found is not None and holders.deletable(path, found.st_mtime_ns, own, others, delete)

    def _discard_parts(self, part_keys: Iterable[str], others: tuple[HolderRecord, ...]) -> None:
        for key in holders.abandoned_parts(part_keys, others):
            partfile.discard(self._parts, key)

    def _release(self, uid: str, retained: HolderRecord | None, others: tuple[HolderRecord, ...]) -> None:
        """Ends the record of `uid`; one that said `Retain` is kept while somebody shares its files."""
        if retained is not None and holders.shares_files(retained, others):
            self._holders.write(replace(retained, released=True, part_keys=()))
        else:
            self._holders.unlink(uid)
        for other in others:
            if other.released and not holders.shares_files(other, others):
                self._holders.unlink(other.uid)
