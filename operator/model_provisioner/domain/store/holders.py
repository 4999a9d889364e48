"""Who holds which file of a store, which path a file gets, and when a file goes.

Files are shared by path and content: a file goes when the last holder goes with `Delete`, unless it
was adopted rather than fetched, or a holder that left before said `Retain`. The store reads the
records, asks here and acts; nothing here touches a file.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from model_provisioner.domain.errors import PathConflict
from model_provisioner.domain.modeldownload import FileRecord
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.paths import is_local, with_commit
from model_provisioner.domain.store.plan import Plan, PlannedFile


@dataclass(frozen=True, slots=True)
class Holder:
    """The object on whose behalf files are kept."""

    uid: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class HeldFile:
    """One file that a holder wants.

    `adopted`: it lay there before anybody held it, so it is never deleted. `mtime_ns` is its
    modification time when its content was found to have `digest`; None until then. `replaced_ns` is
    the modification time of what we fetched to replace an adopted file; it is written down before
    that is published, so that also after a crash in between it can be told which of the two is there.
    """

    path: str
    size: int
    digest: Digest | None
    adopted: bool = False
    mtime_ns: int | None = None
    replaced_ns: int | None = None


@dataclass(frozen=True, slots=True)
class HolderRecord:
    """What one object holds.

    `released`: the object left with `Retain` while others hold some of its files; the record is kept
    to remember that, and holds nothing.
    """

    uid: str
    namespace: str
    name: str
    revision: str | None
    files: tuple[HeldFile, ...] = ()
    part_keys: tuple[str, ...] = ()
    released: bool = False

    def file(self, path: str) -> HeldFile | None:
        return next((file for file in self.files if file.path == path), None)


def settle(plan: Plan, own: HolderRecord | None, others: tuple[HolderRecord, ...]) -> Plan:
    """`plan` with the paths that its files will be published at.

    All files of a model move together, to the directory of their commit, when one of them would lie
    where other bytes are held. Paths that the holder's own record has stay. Raises PathConflict.
    """
    candidates = [plan, *_at_commit(plan)]
    viable = [candidate for candidate in candidates if _in_the_way(candidate, others) is None]
    if not viable:
        raise _conflict(candidates[-1], others)
    return next((candidate for candidate in viable if own is not None and _holds(own, candidate)), viable[0])


def hold(
    holder: HolderRecord,
    settled: Plan,
    own: HolderRecord | None,
    others: tuple[HolderRecord, ...],
    exists: Callable[[str], bool],
) -> HolderRecord:
    """`holder` (so far without files) as a holder of `settled`.

    What its earlier record `own` knows of the same bytes is kept; `exists` tells whether a file
    stands at a path.
    """
    files = tuple(_held(file, settled.revision, own, others, exists) for file in settled.files)
    part_keys = tuple(file.part_key for file in settled.files if file.url is not None)
    return replace(holder, revision=settled.revision, files=files, part_keys=part_keys)


def replacing(record: HolderRecord, path: str, mtime_ns: int) -> HolderRecord:
    """`record` before an adopted file at `path`, if it is one, gives way to one that was written at `mtime_ns`."""
    held = record.file(path)
    if held is None or not held.adopted:
        return record
    return _with(record, replace(held, replaced_ns=mtime_ns))


def verified(record: HolderRecord, file: FileRecord, mtime_ns: int, others: Iterable[HolderRecord]) -> HolderRecord:
    """`record` after the content of one of its files, written at `mtime_ns`, was hashed."""
    held = record.file(file.path)
    if held is None or file.digest is None:
        return record
    adopted = held.adopted and not is_fetched(file.path, mtime_ns, (record, *others))
    digest = Digest.parse(file.digest)
    return _with(record, HeldFile(file.path, file.size_bytes, digest, adopted, mtime_ns))


def is_attested(file: FileRecord, mtime_ns: int, records: Iterable[HolderRecord]) -> bool:
    """Does one of `records` say that `file`, written at `mtime_ns`, has its digest?"""
    digest = attested_digest(file.path, file.size_bytes, mtime_ns, records)
    return digest is not None and str(digest) == file.digest


def is_corrupt(path: str, records: Iterable[HolderRecord]) -> bool:
    """Of published files: was the content at `path` found to be wrong by somebody who shares it?"""
    files = [held for record in records if (held := record.file(path))]
    return any(held.mtime_ns is None for held in files)


def without(own: HolderRecord, kept: HolderRecord) -> HolderRecord:
    """`own` with only what `kept`, which takes its place, does not hold."""
    files = tuple(held for held in own.files if kept.file(held.path) is None)
    return replace(own, files=files, part_keys=tuple(key for key in own.part_keys if key not in kept.part_keys))


def corrupt(record: HolderRecord, paths: Collection[str]) -> HolderRecord:
    """`record` after the content at `paths` was found to be another than it attests for."""
    files = tuple(replace(held, mtime_ns=None) if held.path in paths else held for held in record.files)
    return replace(record, files=files)


def is_fetched(path: str, mtime_ns: int, records: Iterable[HolderRecord]) -> bool:
    """Is the file at `path`, written at `mtime_ns`, one that we fetched, as far as live `records` tell?"""
    files = [held for record in records if not record.released and (held := record.file(path))]
    return any(held.replaced_ns == mtime_ns if held.adopted else held.mtime_ns == mtime_ns for held in files)


def attested_digest(path: str, size: int, mtime_ns: int, records: Iterable[HolderRecord]) -> Digest | None:
    """The digest that the file at `path` was found to have, if it has not been written since."""
    files = (record.file(path) for record in records)
    return next((file.digest for file in files if file and (file.size, file.mtime_ns) == (size, mtime_ns)), None)


def deletable(path: str, mtime_ns: int, leaving: HolderRecord, others: Iterable[HolderRecord], delete: bool) -> bool:
    """May the file at `path`, written at `mtime_ns`, be deleted when `leaving` goes with `Delete` (`delete`)?

    `others` includes the released records.
    """
    held = leaving.file(path)
    wanted = any(other.file(path) for other in others)
    ours = held is not None and (not held.adopted or held.replaced_ns == mtime_ns)
    return delete and ours and not wanted and not is_local(path)


def abandoned_parts(part_keys: Iterable[str], others: Iterable[HolderRecord]) -> tuple[str, ...]:
    """Those of `part_keys` that no other live holder waits for."""
    wanted = {key for other in others if not other.released for key in other.part_keys}
    return tuple(key for key in part_keys if key not in wanted)


def orphaned(
    records: Iterable[HolderRecord], namespaces: Collection[str], uids: Collection[str]
) -> tuple[HolderRecord, ...]:
    """The records of objects that are gone, though nobody was there to give up what they held.

    `uids` must name every object of `namespaces`: of other namespaces nothing is known, so their
    records stay. Released records stay too; they go with the last who shares their files.
    """
    return tuple(
        record
        for record in records
        if record.namespace in namespaces and record.uid not in uids and not record.released
    )


def unheld_files(paths: Iterable[str], records: Iterable[HolderRecord]) -> tuple[str, ...]:
    """Those of `paths` that no record names and that were not put there by somebody."""
    held = {file.path for record in records for file in record.files}
    return tuple(path for path in paths if path not in held and not is_local(path))


def shares_files(record: HolderRecord, others: Iterable[HolderRecord]) -> bool:
    """Does any other live holder hold a file of `record`?"""
    held = {file.path for other in others if not other.released for file in other.files}
    return any(file.path in held for file in record.files)


def _with(record: HolderRecord, changed: HeldFile) -> HolderRecord:
    return replace(record, files=tuple(changed if held.path == changed.path else held for held in record.files))


def _held(
    file: PlannedFile,
    revision: str | None,
    own: HolderRecord | None,
    others: tuple[HolderRecord, ...],
    exists: Callable[[str], bool],
) -> HeldFile:
    known = own.file(file.path) if own else None
    if own and known and _same_bytes(known, own.revision, file, revision):
        return replace(known, digest=file.digest or known.digest)
    shared = [held for other in others if not other.released and (held := other.file(file.path))]
    adopted = any(held.adopted for held in shared) if shared else is_local(file.path) or exists(file.path)
    return HeldFile(file.path, file.size, file.digest, adopted)


def _at_commit(plan: Plan) -> list[Plan]:
    moved = [replace(file, path=with_commit(file.path, plan.revision or "") or file.path) for file in plan.files]
    return [replace(plan, files=tuple(moved))] if plan.revision else []


def _in_the_way(plan: Plan, others: tuple[HolderRecord, ...]) -> tuple[PlannedFile, HolderRecord] | None:
    """The first file of `plan` at whose path a live holder has other bytes, and that holder."""
    for other in (other for other in others if not other.released):
        for file in plan.files:
            held = other.file(file.path)
            if held and not is_local(file.path) and not _same_bytes(held, other.revision, file, plan.revision):
                return file, other
    return None


def _holds(own: HolderRecord, plan: Plan) -> bool:
    pairs = [(own.file(file.path), file) for file in plan.files]
    return all(held is not None and _same_bytes(held, own.revision, file, plan.revision) for held, file in pairs)


def _same_bytes(held: HeldFile, held_revision: str | None, file: PlannedFile, revision: str | None) -> bool:
    """Digests decide; where one is unknown, the same path of the same commit is the same content."""
    if held.size != file.size:
        return False
    if held.digest and file.digest:
        return held.digest == file.digest
    return held_revision == revision


def _conflict(plan: Plan, others: tuple[HolderRecord, ...]) -> PathConflict:
    found = _in_the_way(plan, others)
    where, who = (found[0].path, f"{found[1].namespace}/{found[1].name}") if found else ("its path", "another object")
    return PathConflict(f"{where}: {who} holds different bytes there; delete that object or use another volume")
