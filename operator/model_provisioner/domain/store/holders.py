"""Decides which object holds which file of a store, at which path a file lies, and when it may be deleted.

`transfer.store.store` reads the records, calls this and acts; no file is opened here. Objects share files by path and
content. A file may be deleted when its last holder leaves with `Delete`, unless the file was adopted instead of
fetched, or an earlier holder left with `Retain`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from model_provisioner.domain.errors import PathConflict
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.scope import covers
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.paths import is_local, with_commit
from model_provisioner.domain.store.plan import Plan, PlannedFile


@dataclass(frozen=True, slots=True)
class Holder:
    """The object that files are kept for."""

    uid: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class HeldFile:
    """One file that a holder wants; `size` is in bytes.

    `adopted`: the file was at its path before any object held it, so it is never deleted. `mtime_ns` is the
    modification time at which the content had `digest`; None until the content is verified. With `digest` None it is
    the time of the file when a lost record was written again (`rewritten`): the content is then neither verified nor
    known to be wrong. `replaced_ns` is the modification time of a fetched file that replaces an adopted one. It is
    recorded before that file is published, so that after a crash it shows which of the two files is at the path.
    `endpoint` is the normalised URL of the hub that the content is from; None for a local file, and if it is not known:
    earlier versions did not record it, and a file that was adopted for the user's own digest can be from anywhere.
    `upload_key` names the upload parts that the content was compared with, None for none.
    """

    path: str
    size: int
    digest: Digest | None
    adopted: bool = False
    mtime_ns: int | None = None
    replaced_ns: int | None = None
    endpoint: str | None = None
    upload_key: str | None = None


@dataclass(frozen=True, slots=True)
class HolderRecord:
    """The files that one object holds.

    `revision` is the commit of the plan, `part_keys` name its unfinished files. `released`: the object left with
    `Retain` while other objects hold some of its files. A released record keeps its files from being deleted, but is
    not a live holder.
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


@dataclass(frozen=True, slots=True)
class Holding:
    """The files of a Ready object as its status has them; `revision` is the commit, None for `local:`."""

    holder: Holder
    revision: str | None
    files: tuple[FileRecord, ...]


def settle(plan: Plan, own: HolderRecord | None, others: tuple[HolderRecord, ...]) -> Plan:
    """`plan` with the final paths of its files.

    If another object holds different bytes at one of the paths, all files of the model move to the directory of their
    commit. Paths that the holder's record `own` already has do not change. Raises PathConflict if the paths in the
    directory of the commit conflict too.
    """
    candidates = [plan, *_at_commit(plan)]
    viable = [candidate for candidate in candidates if _conflicting(candidate, others) is None]
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
    """The record `holder`, which has no files yet, with the files of `settled`.

    `own` is the object's earlier record; what it knows about the same bytes is kept. `exists` returns whether there is
    a file at a path.
    """
    files = tuple(_held(file, settled.revision, own, others, exists) for file in settled.files)
    part_keys = tuple(file.part_key for file in settled.files if not file.is_local)
    return replace(holder, revision=settled.revision, files=files, part_keys=part_keys)


def is_recorded(holding: Holding, own: HolderRecord | None) -> bool:
    """Whether the record `own` keeps every file of a Ready object, with the digest that its status has."""
    return own is not None and not own.released and all(_is_held(file, own) for file in holding.files)


def rewritten(
    holding: Holding, records: Collection[HolderRecord], mtimes_ns: Mapping[str, int], *, verified: bool
) -> HolderRecord | None:
    """The record of a Ready object that has none, such as one that a backup restored under a new uid.

    `records` are all records of the store, `mtimes_ns` has the modification time of each file. None if the content of a
    file is not known: it is if a record attests it, or if it is `verified`. Whether the file was fetched is taken from
    the record of the same name, which the object had under its former uid, or from another object. Without either, it
    counts as adopted, so that it is never deleted with the object.
    """
    if not (verified or all(is_attested(file, mtimes_ns[file.path], records) for file in holding.files)):
        return None
    holder = holding.holder
    own = HolderRecord(holder.uid, holder.namespace, holder.name, holding.revision)
    former = [record for record in records if _full_name(record) == _full_name(own) and not record.released]
    files = [_rewritten_file(file, former, records, mtimes_ns[file.path]) for file in holding.files]
    written = {file.path for file in files}
    before = [record for record in former if record.uid == holder.uid]
    files += [held for record in before for held in record.files if held.path not in written]
    return replace(own, files=tuple(files), part_keys=tuple(key for record in before for key in record.part_keys))


def taken_over(own: HolderRecord, records: Iterable[HolderRecord]) -> tuple[HolderRecord, ...]:
    """The records that `own`, which was `rewritten`, replaces: of the same name, and without a file that it has not.

    The object has not left, so they must not be released as if it had done so with `Retain`.
    """
    return tuple(
        record
        for record in records
        if _full_name(record) == _full_name(own)
        and record.uid != own.uid
        and not record.released
        and all(own.file(file.path) for file in record.files)
    )


def replacing(record: HolderRecord, path: str, mtime_ns: int) -> HolderRecord:
    """`record` as it must be before a fetched file with `mtime_ns` replaces an adopted file at `path`.

    A file that is not adopted changes nothing.
    """
    held = record.file(path)
    if held is None or not held.adopted:
        return record
    return _with_file(record, replace(held, replaced_ns=mtime_ns))


def verified(
    record: HolderRecord,
    file: FileRecord,
    mtime_ns: int,
    others: Iterable[HolderRecord],
    *,
    from_hub: bool = True,
    upload_key: str | None = None,
) -> HolderRecord:
    """`record` after one of its files, modified at `mtime_ns`, was hashed; `file` has the digest that was found.

    `from_hub`: the hub of the file has sent this content, or publishes this digest. `upload_key` names the upload parts
    that the content was compared with.
    """
    held = record.file(file.path)
    if held is None or file.digest is None:
        return record
    adopted = held.adopted and not is_fetched(file.path, mtime_ns, (record, *others))
    digest, endpoint = Digest.parse(file.digest), held.endpoint if from_hub else None
    found = HeldFile(file.path, file.size_bytes, digest, adopted, mtime_ns, endpoint=endpoint, upload_key=upload_key)
    return _with_file(record, found)


def is_attested(file: FileRecord, mtime_ns: int, records: Iterable[HolderRecord]) -> bool:
    """Whether one of `records` confirms that `file`, modified at `mtime_ns`, has its digest."""
    digest = attested_digest(file.path, file.size_bytes, mtime_ns, records)
    return digest is not None and str(digest) == file.digest


def is_corrupt(path: str, records: Iterable[HolderRecord]) -> bool:
    """Whether one of `records` marks the published file at `path` as corrupt."""
    files = [held for record in records if (held := record.file(path))]
    return any(held.mtime_ns is None for held in files)


def without(own: HolderRecord, kept: HolderRecord) -> HolderRecord:
    """`own` without the files and parts that the record `kept`, which replaces it, holds."""
    files = tuple(held for held in own.files if kept.file(held.path) is None)
    return replace(own, files=files, part_keys=tuple(key for key in own.part_keys if key not in kept.part_keys))


def corrupt(record: HolderRecord, paths: Collection[str]) -> HolderRecord:
    """`record` with the files at `paths` marked as corrupt: it no longer confirms their content."""
    files = tuple(replace(held, mtime_ns=None) if held.path in paths else held for held in record.files)
    return replace(record, files=files)


def is_fetched(path: str, mtime_ns: int, records: Iterable[HolderRecord]) -> bool:
    """Whether we fetched the file at `path`, modified at `mtime_ns`, according to the live `records`."""
    files = _live_files(path, records)
    return any(held.replaced_ns == mtime_ns if held.adopted else held.mtime_ns == mtime_ns for held in files)


def attested_digest(
    path: str, size: int, mtime_ns: int, records: Iterable[HolderRecord], wanted: PlannedFile | None = None
) -> Digest | None:
    """The digest that one of `records` confirms for the file at `path`; None if none does, or the file changed.

    With `wanted`, only what is known about bytes that this planned file accepts counts: of its hub, and compared with
    its upload parts. An object that may not learn these parts may have published the file without comparing it.
    """
    files = (file for record in records if (file := record.file(path)) and file.digest)
    key = wanted.upload_key if wanted else None
    accepted = (
        file
        for file in files
        if wanted is None or (wanted.accepts_bytes_of(file.endpoint) and key in {None, file.upload_key})
    )
    return next((file.digest for file in accepted if (file.size, file.mtime_ns) == (size, mtime_ns)), None)


def deletable(path: str, mtime_ns: int, leaving: HolderRecord, others: Iterable[HolderRecord], delete: bool) -> bool:
    """Whether the file at `path`, modified at `mtime_ns`, may be deleted when the holder `leaving` leaves.

    `delete` is True if it leaves with `Delete`. `others` includes the released records.
    """
    held = leaving.file(path)
    wanted = any(other.file(path) for other in others)
    ours = held is not None and (not held.adopted or held.replaced_ns == mtime_ns)
    return delete and ours and not wanted and not is_local(path)


def abandoned_parts(part_keys: Iterable[str], others: Iterable[HolderRecord]) -> tuple[str, ...]:
    """The keys in `part_keys` that no other live holder needs."""
    wanted = {key for other in others if not other.released for key in other.part_keys}
    return tuple(key for key in part_keys if key not in wanted)


def orphaned(
    records: Collection[HolderRecord], namespaces: Collection[str], uids: Collection[str], names: Collection[str] = ()
) -> tuple[HolderRecord, ...]:
    """The records of objects that were deleted without their record being removed.

    `uids` must contain every object of `namespaces` ("*" means all), and `names` have their names as `namespace/name`.
    The record of an object that was created again under its name, as a restored backup does, stays until the new object
    has a record: no file is without a holder in between. Records of other namespaces stay, because their objects are
    not known. Released records stay until no holder shares their files.
    """
    recorded = {_full_name(record) for record in records if record.uid in uids}
    awaited = frozenset(names) - recorded
    return tuple(
        record
        for record in records
        if covers(namespaces, record.namespace)
        and record.uid not in uids
        and not record.released
        and _full_name(record) not in awaited
    )


def unheld_files(paths: Iterable[str], records: Iterable[HolderRecord]) -> tuple[str, ...]:
    """The fetched files in `paths` that no record names."""
    held = {file.path for record in records for file in record.files}
    return tuple(path for path in paths if path not in held and not is_local(path))


def shares_files(record: HolderRecord, others: Iterable[HolderRecord]) -> bool:
    """Whether another live holder holds a file of `record`."""
    held = {file.path for other in others if not other.released for file in other.files}
    return any(file.path in held for file in record.files)


def _with_file(record: HolderRecord, changed: HeldFile) -> HolderRecord:
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
        known = replace(known, endpoint=file.endpoint)
        if known.digest is None:  # `mtime_ns` confirms no digest
            return replace(known, digest=file.digest, mtime_ns=None if file.digest else known.mtime_ns)
        return replace(known, digest=file.digest or known.digest)
    shared = _live_files(file.path, others)
    adopted = any(held.adopted for held in shared) if shared else is_local(file.path) or exists(file.path)
    return HeldFile(file.path, file.size, file.digest, adopted, endpoint=file.endpoint)


def _rewritten_file(
    file: FileRecord, former: Iterable[HolderRecord], records: Iterable[HolderRecord], mtime_ns: int
) -> HeldFile:
    digest = Digest.parse(file.digest) if file.digest else None
    for known in _live_files(file.path, former):
        if known.digest and (known.size, known.digest) == (file.size_bytes, digest):
            return replace(known, mtime_ns=mtime_ns)
    shared = _live_files(file.path, records)
    adopted = is_local(file.path) or not shared or any(held.adopted for held in shared)
    return HeldFile(file.path, file.size_bytes, digest, adopted, mtime_ns)


def _is_held(file: FileRecord, own: HolderRecord) -> bool:
    held = own.file(file.path)
    return held is not None and (held.digest is None or str(held.digest) == file.digest)


def _live_files(path: str, records: Iterable[HolderRecord]) -> list[HeldFile]:
    return [held for record in records if not record.released and (held := record.file(path))]


def _full_name(record: HolderRecord) -> str:
    return f"{record.namespace}/{record.name}"


def _at_commit(plan: Plan) -> list[Plan]:
    moved = [replace(file, path=with_commit(file.path, plan.revision or "") or file.path) for file in plan.files]
    return [replace(plan, files=tuple(moved))] if plan.revision else []


def _conflicting(plan: Plan, others: tuple[HolderRecord, ...]) -> tuple[PlannedFile, HolderRecord] | None:
    """The first file of `plan` whose path a live holder uses for different bytes, and that holder."""
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
    """Compares the digests. If one is unknown, the same path at the same commit of one hub is the same content."""
    if held.size != file.size or not file.accepts_bytes_of(held.endpoint):
        return False
    if held.digest and file.digest:
        return held.digest == file.digest
    return held_revision == revision


def _conflict(plan: Plan, others: tuple[HolderRecord, ...]) -> PathConflict:
    found = _conflicting(plan, others)
    where, who = (found[0].path, f"{found[1].namespace}/{found[1].name}") if found else ("its path", "another object")
    return PathConflict(f"{where}: {who} holds different bytes there; delete that object or use another volume")
