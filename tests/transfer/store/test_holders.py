"""Holders on a real volume: they settle, share files and are removed; which files stay."""

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.errors import PathConflict, VolumeChanged
from model_provisioner.transfer.store.records import SweepResult
from model_provisioner.transfer.store.store import Store
from tests.support.models import (
    COMMIT,
    SampleFile,
    attest,
    fetch,
    files_below,
    holder,
    plan_of,
    private_files,
    put,
    sample,
)

FILE = sample()
OTHER_BYTES = sample(seed=1)
MOVED = f"hf/acme/tiny@{COMMIT[:12]}/tiny.Q4_K_M.gguf"


def hold(store: Store, *names: str) -> None:
    """Adds holders of FILE with these names; the first one fetches it."""
    for name in names:
        assert store.records.settle(holder(name), plan_of(FILE)) == plan_of(FILE)
        if store.files.published(FILE.planned) is None:
            fetch(store, FILE, uid=f"uid-{name}")
        attest(store, f"uid-{name}", FILE)


# The holders that are removed, in order, with `delete`; then whether the file stays.
LEAVING = {
    "one, Delete": ([("a", True)], False),
    "one, Retain": ([("a", False)], True),
    "both Delete": ([("a", True), ("b", True)], False),
    "first Delete": ([("a", True)], True),
    "Delete, then Retain": ([("a", True), ("b", False)], True),
    "Retain, then Delete": ([("a", False), ("b", True)], True),
    "Retain among three, then Delete": ([("b", False), ("a", True), ("c", True)], True),
    "both Retain": ([("a", False), ("b", False)], True),
    "the same one again": ([("a", False), ("a", True), ("b", True)], True),
}


@pytest.mark.parametrize(("leaving", "stays"), LEAVING.values(), ids=LEAVING.keys())
def test_the_file_goes_with_the_last_who_lets_it(
    store: Store, root: Path, leaving: list[tuple[str, bool]], stays: bool, request: pytest.FixtureRequest
) -> None:
    alone = request.node.callspec.id.startswith("one")
    hold(store, *sorted({"a"} if alone else {"a", "b"} | {name for name, _ in leaving}))

    gone = [store.records.remove(f"uid-{name}", delete) for name, delete in leaving]

    assert files_below(root) == ({FILE.path} if stays else set())
    assert gone == [()] * (len(leaving) - 1) + [() if stays else (FILE.path,)]
    remaining = {"uid-b.json"} if request.node.callspec.id == "first Delete" else set()
    assert private_files(root, "holders") == remaining
    assert (root / "hf/acme").exists() is stays


# A holder and its step: None settles the file, True removes with Delete, False with Retain.
DEEDS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, True, False])), max_size=12)


@given(DEEDS)
@settings(max_examples=60, deadline=None)
def test_in_any_order_a_file_lives_as_long_as_somebody_wants_it(deeds: list[tuple[str, bool | None]]) -> None:
    wanting: dict[
        str, str
    ] = {}  # the current holders and their record names: an object that is created again is a new one
    there = protected = False
    with tempfile.TemporaryDirectory() as directory, Store.open(Path(directory), None) as store:
        for number, (name, delete) in enumerate(deeds):
            if delete is None:
                protected = protected if wanting else there
                hold(store, wanting.setdefault(name, f"{name}-{number}"))
                there = True
            elif name in wanting:
                store.records.remove(f"uid-{wanting.pop(name)}", delete)
                protected = protected or not delete
                there = bool(wanting) or protected
            assert files_below(Path(directory)) == ({FILE.path} if there else set())
            records = private_files(Path(directory), "holders")
            assert {f"uid-{name}.json" for name in wanting.values()} <= records
            assert wanting or not records


def test_removing_again_changes_nothing(store: Store, root: Path) -> None:
    hold(store, "a")
    assert store.records.remove("uid-a", delete=True) == (FILE.path,)
    assert store.records.remove("uid-a", delete=True) == ()
    assert store.records.remove("uid-never-there", delete=True) == ()


def test_settling_again_writes_nothing_new(store: Store, root: Path) -> None:
    hold(store, "a")
    record = root / ".provisioner/holders/uid-a.json"
    before = (record.stat().st_ino, record.read_bytes())
    assert store.records.settle(holder("a"), plan_of(FILE)) == plan_of(FILE)
    assert (record.stat().st_ino, record.read_bytes()) == before


def test_directories_go_only_when_they_are_empty(store: Store, root: Path) -> None:
    hold(store, "a")
    put(root, "hf/acme/other/by-hand.gguf", b"x")
    store.records.remove("uid-a", delete=True)
    assert not (root / "hf/acme/tiny").exists()
    assert files_below(root) == {"hf/acme/other/by-hand.gguf"}


def test_a_file_that_was_there_before_is_adopted_and_stays(store: Store, root: Path) -> None:
    put(root, FILE.path, FILE.content).chmod(0o640)
    hold(store, "a", "b")
    assert (root / FILE.path).stat().st_mode & 0o777 == 0o640
    assert store.records.remove("uid-a", delete=True) == ()
    assert store.records.remove("uid-b", delete=True) == ()
    assert files_below(root) == {FILE.path}


def test_a_file_that_replaced_a_stranger_is_ours(store: Store, root: Path) -> None:
    put(root, FILE.path, OTHER_BYTES.content)
    for name in ("a", "b"):
        store.records.settle(holder(name), plan_of(FILE))
    fetch(store, FILE, uid="uid-a")
    for name in ("a", "b"):
        attest(store, f"uid-{name}", FILE)
    assert store.records.remove("uid-a", delete=True) == ()
    assert store.records.remove("uid-b", delete=True) == (FILE.path,)


@pytest.mark.parametrize("recovers", [True, False], ids=["tried again", "deleted at once"])
def test_a_crash_after_a_stranger_was_replaced_makes_nobody_forget_whose_the_file_is(
    store: Store, root: Path, recovers: bool
) -> None:
    put(root, FILE.path, OTHER_BYTES.content)
    store.records.settle(holder("a"), plan_of(FILE))
    fetch(store, FILE, uid="uid-a")
    with Store.open(root, store.id) as later:
        if recovers:
            later.records.settle(holder("a"), plan_of(FILE))
            attest(later, "uid-a", FILE)
        assert later.records.remove("uid-a", delete=True) == (FILE.path,)


def test_a_crash_just_before_a_stranger_is_replaced_leaves_it_a_stranger(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.utime(put(root, FILE.path, FILE.content), (0, 0))
    store.records.settle(holder("a"), plan_of(FILE))
    monkeypatch.setattr(os, "rename", crash_at(f"{FILE.planned.part_key}.part"))
    with pytest.raises(KeyboardInterrupt):
        fetch(store, FILE, uid="uid-a")
    monkeypatch.undo()
    with Store.open(root, store.id) as later:
        attest(later, "uid-a", FILE)
        assert later.records.remove("uid-a", delete=True) == ()
    assert files_below(root) == {FILE.path}


def crash_at(name: str) -> Callable[..., None]:
    rename = os.rename

    def crash(source: str, *arguments: object, **keywords: int) -> None:
        if source == name:
            raise KeyboardInterrupt
        rename(source, *arguments, **keywords)  # type: ignore[arg-type]

    return crash


def test_a_stranger_that_was_not_replaced_yet_is_not_ours(store: Store, root: Path) -> None:
    put(root, FILE.path, b"of another size")
    store.records.settle(holder("a"), plan_of(FILE))
    assert store.records.remove("uid-a", delete=True) == ()
    assert files_below(root) == {FILE.path}


def test_local_files_are_never_touched(store: Store, root: Path) -> None:
    local = sample("local/mine/x.gguf")
    put(root, local.path, local.content).chmod(0o640)
    plan = plan_of(local, revision=None)
    for name in ("a", "b"):
        assert store.records.settle(holder(name), plan) == plan
        attest(store, f"uid-{name}", local)
    assert store.records.remove("uid-a", delete=True) == store.records.remove("uid-b", delete=True) == ()
    assert (root / local.path).stat().st_mode & 0o777 == 0o640


def test_other_bytes_under_the_same_name_get_a_place_of_their_own(store: Store, root: Path) -> None:
    hold(store, "a")
    settled = store.records.settle(holder("b"), plan_of(OTHER_BYTES))
    assert [file.path for file in settled.files] == [MOVED]
    fetch(store, replace(OTHER_BYTES, planned=settled.files[0]))
    assert (root / FILE.path).read_bytes() == FILE.content
    assert (root / MOVED).read_bytes() == OTHER_BYTES.content

    assert store.records.remove("uid-a", delete=True) == (FILE.path,)
    assert store.records.settle(holder("b"), plan_of(OTHER_BYTES)) == settled
    assert store.records.remove("uid-b", delete=True) == (MOVED,)


def test_a_conflict_writes_nothing(store: Store, root: Path) -> None:
    hold(store, "a")
    with pytest.raises(PathConflict, match="models/a holds different bytes"):
        store.records.settle(holder("b"), plan_of(OTHER_BYTES, revision=None))
    assert private_files(root, "holders") == {"uid-a.json"}


def begin(store: Store, file: SampleFile = FILE) -> None:
    part = store.files.part(file.planned, 1)
    part.write(0, file.content[:1000])
    part.commit(Spans().add(0, 1000))
    part.close()


@pytest.mark.parametrize("delete", [False, True], ids=["Retain", "Delete"])
def test_parts_go_with_their_last_holder(store: Store, root: Path, delete: bool) -> None:
    for name in ("a", "b"):
        store.records.settle(holder(name), plan_of(FILE))
    begin(store)
    store.records.remove("uid-a", delete)
    assert store.files.durable_bytes(plan_of(FILE)) == 1000
    store.records.remove("uid-b", delete)
    assert private_files(root, "parts") == set()


def sweep(store: Store, *there: str, namespaces: tuple[str, ...] = ("models",)) -> SweepResult:
    return store.records.sweep(frozenset(namespaces), frozenset(f"uid-{name}" for name in there))


def test_the_sweep_gives_up_what_objects_that_are_gone_held(store: Store, root: Path) -> None:
    hold(store, "gone")
    for name in ("gone-too", "there"):
        store.records.settle(holder(name), plan_of(OTHER_BYTES))
    gone = sample("hf/acme/tiny/gone.gguf")
    store.records.settle(holder("gone-too"), plan_of(gone))
    for file in (gone, replace(OTHER_BYTES, planned=replace(OTHER_BYTES.planned, path=MOVED))):
        begin(store, file)

    assert sweep(store, "there") == SweepResult((gone.planned.part_key,), ("uid-gone-too", "uid-gone"))
    assert private_files(root, "holders") == {"uid-there.json"}
    assert len(private_files(root, "parts")) == 2
    assert files_below(root) == {FILE.path}, "whether it was to be deleted is not known any more"
    assert sweep(store, "there") == SweepResult()


def test_the_sweep_leaves_alone_what_it_can_not_know(store: Store, root: Path) -> None:
    store.records.settle(holder("a"), plan_of(FILE))
    begin(store)
    assert sweep(store, namespaces=("other",)) == SweepResult()
    (root / ".provisioner/holders/uid-b.json").write_bytes(b"{")
    assert sweep(store) == SweepResult(), "the record that can't be read may tell of the same part"
    assert store.files.durable_bytes(plan_of(FILE)) == 1000
    (root / ".provisioner/holders/uid-b.json").unlink()
    assert sweep(store).records == ("uid-a",)


def test_a_part_of_nobody_is_not_swept(store: Store, root: Path) -> None:
    """It may belong to a `model-provisioner fetch` without a cluster."""
    begin(store)
    assert sweep(store) == SweepResult()
    assert store.files.durable_bytes(plan_of(FILE)) == 1000


def test_what_is_swept_while_it_is_shared_still_stays_with_the_last(store: Store, root: Path) -> None:
    """The deleted object may have had the policy `Retain`."""
    hold(store, "gone", "there")
    assert sweep(store, "there").records == ("uid-gone",)
    assert sweep(store, "there") == SweepResult()
    assert store.records.remove("uid-there", delete=True) == ()
    assert (files_below(root), private_files(root, "holders")) == ({FILE.path}, set())


def test_to_look_for_a_store_makes_none(tmp_path: Path) -> None:
    assert Store.find(tmp_path, None) is None
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(VolumeChanged):
        Store.find(tmp_path, "expected")
    assert list(tmp_path.iterdir()) == []
    with Store.open(tmp_path, None) as made, Store.find(tmp_path, None) or pytest.fail("not found") as found:
        assert found.id == made.id


def test_a_changed_wish_drops_the_part_of_the_old_one(store: Store, root: Path) -> None:
    store.records.settle(holder("a"), plan_of(FILE))
    begin(store)
    store.records.settle(holder("a"), plan_of(FILE))
    assert store.files.durable_bytes(plan_of(FILE)) == 1000
    store.records.settle(holder("a"), plan_of(OTHER_BYTES))
    assert private_files(root, "parts") == set()


@pytest.mark.parametrize("data", [b"", b"{", b'{"version": 2}'], ids=["empty", "truncated", "later version"])
def test_while_a_record_can_not_be_read_no_file_is_deleted(store: Store, root: Path, data: bytes) -> None:
    hold(store, "a", "b")
    record = root / ".provisioner/holders/uid-b.json"
    record.write_bytes(data)
    assert store.records.remove("uid-a", delete=True) == ()
    assert files_below(root) == {FILE.path}

    hold(store, "b")
    assert store.records.remove("uid-b", delete=True) == ()
    assert files_below(root) == {FILE.path}, "adopted, because nobody knows any more who fetched it"


HOSTILE: dict[str, tuple[str, object]] = {
    "a part elsewhere": ("part_keys", ["../../victim"]),
    "a part that is a record": ("part_keys", ["../holders/uid-b"]),
    "no key at all": ("part_keys", [""]),
    "a file elsewhere": ("files", [{"path": "../x.gguf", "size": 1, "digest": None, "adopted": False, "mtime_ns": 1}]),
}


@pytest.mark.parametrize(("field", "value"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_record_that_names_what_is_not_ours_removes_nothing(
    store: Store, root: Path, field: str, value: object
) -> None:
    hold(store, "b")
    put(root, "victim.part", b"x")
    record = root / ".provisioner/holders/uid-a.json"
    document = json.loads((record.with_name("uid-b.json")).read_text())
    record.write_text(json.dumps({**document, "uid": "uid-a", field: value}))
    assert store.records.remove("uid-a", delete=True) == ()
    assert files_below(root) == {FILE.path, "victim.part"}
    assert private_files(root, "holders") == {"uid-b.json"}, "the record itself is given up"


def test_a_record_under_a_wrong_name_or_behind_a_link_counts_for_nobody(store: Store, root: Path) -> None:
    hold(store, "a")
    records = root / ".provisioner/holders"
    (records / "uid-copy.json").write_bytes((records / "uid-a.json").read_bytes())
    (records / "uid-link.json").symlink_to(records / "uid-a.json")
    assert store.records.settle(holder("b"), plan_of(OTHER_BYTES)).files[0].path == MOVED
    assert store.records.remove("uid-copy", delete=False) == ()
    assert store.records.remove("uid-link", delete=True) == ()
    assert store.records.remove("uid-a", delete=True) == (FILE.path,)


@pytest.mark.parametrize("uid", ["", "..", "../x", "a/b", "a\0", "a" * 200])
def test_a_uid_that_can_not_be_a_file_name_is_refused(store: Store, uid: str) -> None:
    with pytest.raises(ValueError, match="is not a uid"):
        store.records.remove(uid, delete=True)
    with pytest.raises(ValueError, match="is not a uid"):
        store.records.settle(replace(holder("a"), uid=uid), plan_of(FILE))
