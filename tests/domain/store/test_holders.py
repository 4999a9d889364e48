"""Holders of files: the path that a file gets, and when it may be deleted."""

from dataclasses import replace

import pytest

from model_provisioner.domain.errors import PathConflict
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.store import holders
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.holders import HeldFile, Holder, HolderRecord, Holding
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.domain.store.upload_parts import UploadParts

OLD, NEW = Digest("aa" * 32), Digest("bb" * 32)
C1, C2 = "1" * 40, "2" * 40
MAIN, MOVED = "hf/a/b/x.gguf", f"hf/a/b@{C2[:12]}/x.gguf"
LOCAL = "local/x.gguf"


def planned(path: str = MAIN, digest: Digest | None = NEW, size: int = 10) -> PlannedFile:
    return PlannedFile(path, size, digest, f"hf:a/b:{path}", None if path.startswith("local/") else "https://hub/x")


def plan(*files: PlannedFile, revision: str | None = C2) -> Plan:
    return Plan("hf:a/b", revision, files)


def record(uid: str, *files: HeldFile, revision: str | None = C1, released: bool = False) -> HolderRecord:
    return HolderRecord(uid, "ns", f"object-{uid}", revision, files, released=released)


def held(path: str = MAIN, digest: Digest | None = OLD, size: int = 10, adopted: bool = False) -> HeldFile:
    return HeldFile(path, size, digest, adopted)


SETTLED = {
    "nobody holds it": (planned(), (), MAIN),
    "held with the same bytes": (planned(), (record("o", held(digest=NEW)),), MAIN),
    "held with another digest": (planned(), (record("o", held()),), MOVED),
    "held with another size": (planned(), (record("o", held(digest=NEW, size=11)),), MOVED),
    "unknown digest, same commit": (planned(digest=None), (record("o", held(), revision=C2),), MAIN),
    "unknown digest, other commit": (planned(digest=None), (record("o", held()),), MOVED),
    "not computed yet, same commit": (planned(), (record("o", held(digest=None), revision=C2),), MAIN),
    "not computed yet, other commit": (planned(), (record("o", held(digest=None)),), MOVED),
    "other bytes by one who left": (planned(), (record("o", held(), released=True),), MAIN),
    "other bytes at another path": (planned(), (record("o", held(path="hf/a/c/x.gguf")),), MAIN),
    "a local file is where it is": (planned(LOCAL), (record("o", held(LOCAL), revision=None),), LOCAL),
}


@pytest.mark.parametrize(("file", "others", "path"), SETTLED.values(), ids=SETTLED.keys())
def test_where_a_file_is_published(file: PlannedFile, others: tuple[HolderRecord, ...], path: str) -> None:
    revision = None if file.path == LOCAL else C2
    assert holders.settle(plan(file, revision=revision), None, others).files[0].path == path


def test_the_parts_of_a_split_model_move_together() -> None:
    parts = [planned(f"hf/a/b/x-0000{n}-of-00002.gguf") for n in (1, 2)]
    others = (record("o", held(parts[1].path)),)
    settled = holders.settle(plan(*parts), None, others)
    assert {file.path.rpartition("/")[0] for file in settled.files} == {f"hf/a/b@{C2[:12]}"}


def test_a_conflict_that_has_no_way_out_names_who_is_there() -> None:
    others = (record("o", held()), record("p", held(MOVED)))
    with pytest.raises(PathConflict, match="ns/object-p holds different bytes"):
        holders.settle(plan(planned()), None, others)
    with pytest.raises(PathConflict, match="ns/object-o holds different bytes"):
        holders.settle(plan(planned(), revision=None), None, others[:1])


def test_a_path_once_settled_stays_when_the_one_in_the_way_leaves() -> None:
    own = record("own", held(MOVED, NEW), revision=C2)
    assert holders.settle(plan(planned()), own, ()).files[0].path == MOVED
    assert holders.settle(plan(planned(digest=OLD)), own, ()).files[0].path == MAIN


def test_a_path_of_the_own_record_is_no_right_against_others() -> None:
    own = record("own", held(MAIN, NEW), revision=C2)
    assert holders.settle(plan(planned()), own, (record("o", held()),)).files[0].path == MOVED


ADOPTED = {
    "nothing there": (planned(), None, (), False, False),
    "a file that nobody holds": (planned(), None, (), True, True),
    "a file that is fetched for another": (planned(), None, (record("o", held(digest=NEW)),), True, False),
    "a file that another adopted": (planned(), None, (record("o", held(digest=NEW, adopted=True)),), True, True),
    "a file of one who left": (planned(), None, (record("o", held(), released=True),), True, True),
    "one's own, fetched before": (planned(), record("own", held(digest=NEW)), (), True, False),
    "one's own, adopted before": (planned(), record("own", held(digest=NEW, adopted=True)), (), True, True),
    "local": (planned(LOCAL), None, (), False, True),
}


@pytest.mark.parametrize(("file", "own", "others", "exists", "adopted"), ADOPTED.values(), ids=ADOPTED.keys())
def test_what_counts_as_adopted(
    file: PlannedFile, own: HolderRecord | None, others: tuple[HolderRecord, ...], exists: bool, adopted: bool
) -> None:
    found = holders.hold(record("own"), plan(file), own, others, lambda _: exists)
    assert found.files[0].adopted is adopted
    assert found.revision == C2
    assert found.part_keys == ((file.part_key,) if file.url else ())


def test_what_was_verified_is_not_forgotten_when_settled_again() -> None:
    first = holders.hold(record("own"), plan(planned(digest=None)), None, (), lambda _: False)
    known = holders.verified(first, FileRecord(MAIN, 10, str(NEW)), 77, ())
    again = holders.hold(record("own"), plan(planned(digest=None)), known, (), lambda _: True)
    assert again == known
    assert again.files == (HeldFile(MAIN, 10, NEW, adopted=False, mtime_ns=77),)


WHOSE = {
    "what lay there": (held(digest=NEW, adopted=True), (), True),
    "what replaced it": (replace(held(digest=NEW, adopted=True), replaced_ns=5), (), False),
    "what was to replace it, and did not": (replace(held(digest=NEW, adopted=True), replaced_ns=6), (), True),
    "what another fetched": (held(adopted=True), (record("o", replace(held(), mtime_ns=5)),), False),
    "what another found": (held(adopted=True), (record("o", replace(held(adopted=True), mtime_ns=5)),), True),
    "what one who left had fetched": (
        held(adopted=True),
        (record("o", replace(held(), mtime_ns=5), released=True),),
        True,
    ),
}


@pytest.mark.parametrize(("file", "others", "adopted"), WHOSE.values(), ids=WHOSE.keys())
def test_whose_a_file_written_at_5_turns_out_to_be(
    file: HeldFile, others: tuple[HolderRecord, ...], adopted: bool
) -> None:
    found = holders.verified(record("own", file), FileRecord(MAIN, 10, str(NEW)), 5, others)
    assert found.files == (HeldFile(MAIN, 10, NEW, adopted, mtime_ns=5),)


def test_without_a_digest_nothing_is_verified() -> None:
    before = record("own", held(digest=NEW))
    assert holders.verified(before, FileRecord(MAIN, 10, None), 5, ()) == before


def test_only_an_adopted_file_is_said_to_be_replaced() -> None:
    ours = record("own", held())
    assert holders.replacing(ours, MAIN, 5) == ours
    assert holders.replacing(ours, MOVED, 5) == ours
    assert holders.replacing(record("own", held(adopted=True)), MAIN, 5).files[0].replaced_ns == 5


ORPHANED = {
    "an object that is there": (record("there"), False),
    "an object that is gone": (record("gone"), True),
    "a namespace that nobody watches": (replace(record("gone"), namespace="other"), False),
    "one that was released": (record("gone", released=True), False),
}


@pytest.mark.parametrize(("found", "gone"), ORPHANED.values(), ids=ORPHANED.keys())
def test_whose_records_are_swept(found: HolderRecord, gone: bool) -> None:
    assert holders.orphaned((found,), {"ns"}, {"there"}) == ((found,) if gone else ())


def test_of_every_namespace_each_record_without_an_object_is_swept() -> None:
    found = tuple(record for record, _ in ORPHANED.values())
    gone, elsewhere = found[1], found[2]
    assert holders.orphaned(found, {"*"}, {"there"}) == (gone, elsewhere)


def test_the_record_under_a_former_uid_stays_until_the_object_has_one_of_its_own() -> None:
    former, own = replace(record("gone"), name="it"), replace(record("there"), name="it")
    assert holders.orphaned((former,), {"ns"}, {"there"}, {"ns/it"}) == ()
    assert holders.orphaned((former, own), {"ns"}, {"there"}, {"ns/it"}) == (former,)
    assert holders.orphaned((former,), {"ns"}, {"there"}, {"other/it"}) == (former,)


READY = Holding(Holder("own", "ns", "it"), C1, (FileRecord(MAIN, 10, str(OLD)),))
VERIFIED = HeldFile(MAIN, 10, OLD, mtime_ns=5)
KEPT = replace(VERIFIED, adopted=True)
REWRITTEN = {
    "nothing is known": ((), None, KEPT),
    "what it knew under its former uid": ((replace(record("former", VERIFIED), name="it"),), VERIFIED, VERIFIED),
    "of other bytes it knew nothing": (
        (replace(record("former", held(digest=NEW)), name="it"),),
        None,
        replace(KEPT, adopted=False),
    ),
    "one that left with Retain": ((replace(record("former", VERIFIED, released=True), name="it"),), KEPT, KEPT),
    "another object fetched it": ((record("o", VERIFIED),), VERIFIED, VERIFIED),
    "another object adopted it": ((record("o", KEPT),), KEPT, KEPT),
    "another object has other bytes": ((record("o", replace(VERIFIED, digest=NEW)),), None, VERIFIED),
    "another object found it corrupt": ((record("o", replace(VERIFIED, mtime_ns=None)),), None, VERIFIED),
}


@pytest.mark.parametrize(("records", "attested", "read"), REWRITTEN.values(), ids=REWRITTEN.keys())
def test_a_lost_record_is_written_again_if_the_content_is_known(
    records: tuple[HolderRecord, ...], attested: HeldFile | None, read: HeldFile
) -> None:
    """`attested` is what it gets from other records, `read` what it gets if every byte was read and is right."""
    assert _files(holders.rewritten(READY, records, {MAIN: 5}, verified=False)) == (attested and (attested,))
    assert holders.rewritten(READY, records, {MAIN: 6}, verified=False) is None, "it was written since"
    made = holders.rewritten(READY, records, {MAIN: 5}, verified=True)
    assert made is not None
    assert (made.uid, made.namespace, made.name, made.revision) == ("own", "ns", "it", C1)
    assert made.files == (read,)
    assert holders.is_recorded(READY, made)
    assert holders.is_attested(READY.files[0], 5, (made,))


def test_a_record_that_is_written_again_keeps_its_other_files_and_parts() -> None:
    own = replace(record("own", held(MOVED)), name="it", part_keys=("k",))
    made = holders.rewritten(READY, (own,), {MAIN: 5}, verified=True)
    assert made is not None
    assert [file.path for file in made.files] == [MAIN, MOVED]
    assert made.part_keys == ("k",)


def _files(record: HolderRecord | None) -> tuple[HeldFile, ...] | None:
    return record.files if record else None


def test_a_record_without_all_files_or_of_one_who_left_is_none() -> None:
    assert not holders.is_recorded(READY, None)
    assert not holders.is_recorded(READY, record("own", held(MOVED)))
    assert not holders.is_recorded(READY, record("own", held(), released=True))


@pytest.mark.parametrize(
    ("size", "mtime_ns", "digest"),
    [(10, 77, NEW), (11, 77, None), (10, 78, None)],
    ids=["as verified", "other size", "written since"],
)
def test_a_record_vouches_for_a_file_that_was_not_touched(size: int, mtime_ns: int, digest: Digest | None) -> None:
    unverified = record("first", held(digest=NEW))
    verified = record("second", HeldFile(MAIN, 10, NEW, mtime_ns=77))
    assert holders.attested_digest(MAIN, size, mtime_ns, [unverified, verified]) == digest
    assert holders.attested_digest(MAIN, size, mtime_ns, [unverified]) is None


HOLDS, GONE_RETAINING = record("o", held()), record("o", held(), released=True)
DELETABLE = {
    "the last, Delete": (held(), (), True, True),
    "the last, Retain": (held(), (), False, False),
    "another holds it, Delete": (held(), (HOLDS,), True, False),
    "another holds it, Retain": (held(), (HOLDS,), False, False),
    "another left with Retain": (held(), (GONE_RETAINING,), True, False),
    "others hold other files": (held(), (record("o", held("hf/a/c/x.gguf")),), True, True),
    "adopted": (held(adopted=True), (), True, False),
    "local": (held(LOCAL), (), True, False),
    "not held": (held("hf/a/c/x.gguf"), (), True, False),
}


@pytest.mark.parametrize(("file", "others", "delete", "goes"), DELETABLE.values(), ids=DELETABLE.keys())
def test_when_a_file_goes(file: HeldFile, others: tuple[HolderRecord, ...], delete: bool, goes: bool) -> None:
    path = LOCAL if file.path == LOCAL else MAIN
    assert holders.deletable(path, 5, record("own", file), others, delete) is goes


def test_parts_go_with_the_last_who_waits_for_them() -> None:
    waiting = replace(record("o"), part_keys=("shared",))
    assert holders.abandoned_parts(["mine", "shared"], [waiting]) == ("mine",)
    assert holders.abandoned_parts(["shared"], [replace(waiting, released=True)]) == ("shared",)


HUB = "https://hub"
FROM_HUB = replace(held(digest=NEW), mtime_ns=77, endpoint=HUB)
UNRECORDED = replace(FROM_HUB, endpoint=None)
PUBLISHED = replace(planned(), endpoint=HUB, digest_published=True)
UNPUBLISHED = replace(planned(digest=None), endpoint=HUB)
GIVEN_BY_THE_USER = replace(planned(), endpoint=HUB)
HUBS = {
    "the same hub": (FROM_HUB, UNPUBLISHED, True),
    "the same hub, digest of the user": (FROM_HUB, GIVEN_BY_THE_USER, True),
    "another hub, digest published": (replace(FROM_HUB, endpoint="https://former"), PUBLISHED, True),
    "another hub, no digest published": (replace(FROM_HUB, endpoint="https://former"), UNPUBLISHED, False),
    "an earlier version, digest published": (UNRECORDED, PUBLISHED, True),
    "an earlier version, no digest published": (UNRECORDED, UNPUBLISHED, False),
    "an earlier version, digest of the user": (UNRECORDED, GIVEN_BY_THE_USER, False),
}


@pytest.mark.parametrize(("known", "file", "shared"), HUBS.values(), ids=HUBS.keys())
def test_a_file_is_shared_and_attested_for_its_own_hub(known: HeldFile, file: PlannedFile, shared: bool) -> None:
    others = (record("o", known, revision=C2),)
    settled = holders.settle(plan(file), None, others)
    assert (settled.files[0].path == MAIN) is shared
    assert (holders.attested_digest(MAIN, 10, 77, others, file) == NEW) is shared


def test_an_own_record_learns_the_hub_only_if_its_bytes_are_accepted() -> None:
    own = record("own", UNRECORDED, revision=C2)
    kept = holders.hold(record("own"), plan(PUBLISHED), own, (), lambda _: True)
    assert kept.files == (FROM_HUB,)
    forgotten = holders.hold(record("own"), plan(UNPUBLISHED), own, (), lambda _: True)
    assert forgotten.files == (HeldFile(MAIN, 10, None, adopted=True, endpoint=HUB),)


def test_a_file_is_attested_for_the_upload_parts_that_it_was_compared_with() -> None:
    parts = UploadParts.of((10,), b"d" * 32)
    wanted = replace(UNPUBLISHED, upload_parts=parts)
    own = record("own", replace(held(digest=NEW), endpoint=HUB))
    for key, file, known in (
        (None, wanted, None),
        ("other", wanted, None),
        (parts.key, wanted, NEW),
        (parts.key, UNPUBLISHED, NEW),
    ):
        found = holders.verified(own, FileRecord(MAIN, 10, str(NEW)), 77, (), upload_key=key)
        assert holders.attested_digest(MAIN, 10, 77, (found,), file) == known


@pytest.mark.parametrize(("from_hub", "endpoint"), [(True, HUB), (False, None)])
def test_a_file_that_the_hub_does_not_vouch_for_is_of_no_hub(from_hub: bool, endpoint: str | None) -> None:
    """Else an object that names the digest of a file on the volume would pass it on to objects that name none."""
    settled = record("own", replace(held(digest=NEW, adopted=True), endpoint=HUB))
    found = holders.verified(settled, FileRecord(MAIN, 10, str(NEW)), 77, (), from_hub=from_hub)
    assert found.files[0].endpoint == endpoint
