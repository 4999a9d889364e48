"""The files of an open store as a fetcher uses them: parts, published files, and the room that they need.

Called by `transfer.download.engine`, and by the store worker for the sizes of a plan. A fetcher writes only the record
of the holder on whose behalf it fetches. Everything else about records is in `records`; which holder keeps which file
is decided in `domain.store.holders`.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from model_provisioner.domain.errors import PathConflict, SourceNotFound, VolumeUnsuitable
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.store import holders
from model_provisioner.domain.store.copying import has_copy
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.holders import HolderRecord
from model_provisioner.domain.store.modes import Modes
from model_provisioner.domain.store.paths import PRIVATE, is_safe
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.domain.store.space import Room, free_bytes
from model_provisioner.transfer.store import obstacles, partfile, posix, private_files, published_files
from model_provisioner.transfer.store.holder_records import HolderRecords
from model_provisioner.transfer.store.partfile import PartFile
from model_provisioner.transfer.store.posix import FileVersion


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file at its final path, and the digest that a holder's record attests.

    `digest` None means that no record attests the content, so it must be hashed.
    """

    version: FileVersion
    digest: Digest | None

    @property
    def size(self) -> int:
        """In bytes."""
        return self.version.size

    def attests(self, wanted: Digest | None) -> bool:
        """Whether a record attests the content, with the digest `wanted` (None: any digest)."""
        return self.digest is not None and wanted in {None, self.digest}


class StoreFiles:
    """Works on descriptors that belong to the `Store`.

    `root` is the volume's root, `private` the store's own directory, `parts` the directory of unfinished files. `modes`
    applies to published files and to directories that publishing makes.
    """

    def __init__(self, root: int, private: int, parts: int, records: HolderRecords, modes: Modes) -> None:
        self._root = root
        self._private = private
        self._parts = parts
        self._records = records
        self._modes = modes

    def check_paths(self, plan: Plan) -> None:
        """Checks that each file of `plan` that has to be fetched can be published, and that each other one can be read.

        Raises PathConflict, VolumeNotWritable, VolumeUnsuitable.
        """
        for file in plan.files:
            obstacles.check_kinds(self._root, file.path)
            found = published_files.stat(self._root, file.path)
            if file.is_local or (found is not None and found.st_size == file.size):
                obstacles.check_readable(self._root, file.path)
            else:
                obstacles.check_writable(self._root, self._private, file.path)

    def part(self, file: PlannedFile, epoch: int) -> PartFile:
        """The unfinished file, resumed if that is safe.

        Raises PathConflict, VolumeNotWritable or VolumeUnsuitable if it could not be published, and as `PartFile.open`
        does.
        """
        obstacles.check_writable(self._root, self._private, file.path)
        return PartFile.open(self._parts, file, epoch)

    def published(self, file: PlannedFile) -> PublishedFile | None:
        """The regular file at `file.path`, of any size; None if there is none."""
        found = published_files.stat(self._root, file.path)
        if found is None:
            return None
        records = self._records.all().records
        digest = holders.attested_digest(file.path, found.st_size, found.st_mtime_ns, records, file)
        return PublishedFile(FileVersion.of(found), digest)

    def attested(self, files: Iterable[FileRecord]) -> dict[FileRecord, os.stat_result]:
        """The lstat of each of `files` that is published with its size, and whose digest a record attests."""
        by_path = defaultdict[str, list[HolderRecord]](list)
        for record in self._records.all().records:
            for held in record.files:
                by_path[held.path].append(record)
        found = {file: published_files.stat(self._root, file.path) for file in files if is_safe(file.path)}
        return {
            file: facts
            for file, facts in found.items()
            if facts
            and facts.st_size == file.size_bytes
            and holders.is_attested(file, facts.st_mtime_ns, by_path[file.path])
        }

    def holder_names(self) -> frozenset[str]:
        """The objects that hold files of this store, as `namespace/name`."""
        records = self._records.all().records
        return frozenset(f"{record.namespace}/{record.name}" for record in records if not record.released)

    def open_published(self, path: str) -> int:
        """A read-only descriptor that the caller closes.

        Raises FileNotFoundError if there is no regular file, PathConflict for a symbolic link.
        """
        return published_files.open_file(self._root, path)

    def open_copy(self, file: PlannedFile) -> int:
        """A read-only descriptor of the published file at `file.path`, which a record confirms to be `file`.

        The caller closes it. Raises SourceNotFound if there is no such file, or a link leads to it.
        """
        try:
            fd = published_files.open_file(self._root, file.path)
        except (FileNotFoundError, PathConflict):
            raise _no_copy(file) from None
        found = os.fstat(fd)
        if has_copy(file, found.st_size, found.st_mtime_ns, self._records.all().records):
            return fd
        os.close(fd)
        raise _no_copy(file)

    def publish(self, part: PartFile, path: str, uid: str | None = None) -> FileVersion:
        """Makes a verified and sealed part the file at `path`, replaces a file that is there, and closes the part.

        Returns what was published. It is durable and has its final mode. If `path` holds an adopted file, the record of
        `uid` (the holder for which the part was fetched) says before the rename that this file is replaced. Raises
        PathConflict if something else than a file is at `path`, InsufficientStorage, VolumeNotWritable,
        VolumeUnsuitable. The last one also if another process has changed or exchanged the part since it was sealed:
        then nothing is at `path`, and the part is gone.
        """
        with posix.volume_errors(f"publish {path}"):
            self._keep_private()
            sealed = self._move_into_place(part, path, uid)
            posix.set_mode_and_group(part.fd, self._modes.file, self._modes.group)
            part.close()
            partfile.discard(self._parts, part.key)
            return sealed

    def record_digest(
        self,
        uid: str,
        file: FileRecord,
        verified: FileVersion,
        *,
        from_hub: bool = True,
        upload_key: str | None = None,
    ) -> bool:
        """Writes the verified digest of `file` to the record of `uid`, which attests it from then on.

        `from_hub`: its hub has sent this content, or publishes this digest. `upload_key` names the upload parts that it
        was compared with. Does nothing if there is no such record. Returns False, and records nothing, if the file at
        the path is not `verified` any more, which is what was hashed or published.
        """
        with posix.volume_errors("record what was verified"):
            record, found = self._records.read(uid), published_files.stat(self._root, file.path)
            if found is None or not FileVersion.of(found).has_content_of(verified):
                return False
            if record is None:
                return True
            others = self._records.others(uid).records
            mtime_ns = found.st_mtime_ns
            record = holders.verified(record, file, mtime_ns, others, from_hub=from_hub, upload_key=upload_key)
            held = record.file(file.path)
            if held is not None and not held.adopted:
                # After a crash between rename and fchmod the file still has the part's mode.
                published_files.apply_modes(self._root, file.path, self._modes)
            self._records.write(record)
            return True

    def room(self, fetched: tuple[PlannedFile, ...], waiting: tuple[PlannedFile, ...]) -> Room:
        """The bytes that are still needed and those that are free.

        Files in `fetched` are written even if a file is at their path; files in `waiting` only if they are missing.
        The blocks of a part count as written, journalled or not, because the fetch overwrites them. Raises
        VolumeNotWritable if the volume does not answer.
        """
        needed = sum(file.size - partfile.occupied_bytes(self._parts, file) for file in fetched)
        needed += sum(
            file.size - max(self._present_bytes(file), partfile.occupied_bytes(self._parts, file)) for file in waiting
        )
        return Room(needed, self.free_bytes())

    def durable_bytes(self, plan: Plan) -> int:
        """How many bytes of a settled `plan` are published or journalled in parts.

        A file at the right path whose content is not verified does not count: it may have to be replaced.
        """
        return sum(self._verified_bytes(file) for file in plan.files)

    def free_bytes(self) -> int | None:
        """The bytes that an unprivileged user may still write to the volume; None if it does not say.

        Raises VolumeNotWritable if it does not answer.
        """
        with posix.volume_errors("measure the free space of the volume"):
            facts = posix.statvfs(self._root)
        return facts and free_bytes(facts.f_frsize, facts.f_blocks, facts.f_bfree, facts.f_bavail)

    def _keep_private(self) -> None:
        private_files.keep_directory(self._private, PRIVATE)
        private_files.keep_directory(self._parts, f"{PRIVATE}/parts")

    def _move_into_place(self, part: PartFile, path: str, uid: str | None) -> FileVersion:
        try:
            sealed = part.check_sealed()
            if uid is not None:
                self._record_replacement(uid, path, sealed.mtime_ns)
            return published_files.move_into_place(part, self._parts, self._root, path, self._modes)
        except VolumeUnsuitable:  # as the two checks raise it
            part.discard()
            raise

    def _verified_bytes(self, file: PlannedFile) -> int:
        found = self.published(file)
        if found is not None and found.size == file.size and (file.is_local or found.attests(file.digest)):
            return file.size
        return partfile.durable_bytes(self._parts, file)

    def _present_bytes(self, file: PlannedFile) -> int:
        found = published_files.stat(self._root, file.path)
        if found is not None and found.st_size == file.size:
            return file.size
        return partfile.durable_bytes(self._parts, file)

    def _record_replacement(self, uid: str, path: str, mtime_ns: int) -> None:
        record = self._records.read(uid)
        changed = holders.replacing(record, path, mtime_ns) if record else None
        if changed and changed != record:
            self._records.write(changed)


def _no_copy(file: PlannedFile) -> SourceNotFound:
    return SourceNotFound(f"{file.path} is not on the volume, or no record confirms its content")
