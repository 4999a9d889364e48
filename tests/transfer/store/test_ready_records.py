"""Ready objects whose record is missing get one, so that `prune` keeps their files; which files are then deletable."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.holders import Holder, Holding
from model_provisioner.transfer.store.records import RecordResult, SweepResult
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
from tests.support.volumes import small_volume

FILE, SECOND = sample(), sample("hf/acme/tiny/tiny.Q8_0.gguf", seed=1)
CLAIM = Claim("models", "models")
RESTORED = Holder("uid-restored", "models", "a")


def ready(*files: SampleFile, owner: Holder = RESTORED) -> Holding:
    return Holding(owner, COMMIT, tuple(file.record for file in files))


def publish(store: Store, name: str, file: SampleFile = FILE) -> None:
    store.records.settle(holder(name), plan_of(file))
    fetch(store, file, uid=f"uid-{name}")
    attest(store, f"uid-{name}", file)


def sweep(store: Store) -> SweepResult:
    """As the operator does that knows only the restored object."""
    return store.records.sweep(frozenset({"models"}), frozenset({RESTORED.uid}), frozenset({"models/a"}))


def test_a_restored_object_takes_over_what_it_held_under_its_former_uid(store: Store, root: Path) -> None:
    publish(store, "a")
    assert sweep(store) == SweepResult(), "until then its former record keeps the file"
    assert store.records.record_ready([ready(FILE)]) == RecordResult((RESTORED.uid,))
    assert private_files(root, "holders") == {f"{RESTORED.uid}.json"}
    assert store.records.unheld().all_files == ()
    assert store.records.check((FILE.record,), RESTORED.uid).unattested == (), "no byte has to be read again"
    assert store.records.remove(RESTORED.uid, delete=True) == (FILE.path,)


def test_a_former_record_with_other_files_stays_until_the_sweep(store: Store, root: Path) -> None:
    publish(store, "a")
    fetch(store, SECOND)
    store.records.record_ready([ready(SECOND)], verified=True)
    assert private_files(root, "holders") == {f"{RESTORED.uid}.json", "uid-a.json"}
    assert store.records.unheld().all_files == ()
    assert sweep(store).records == ("uid-a",)


def test_without_a_former_record_a_file_that_was_read_is_kept_and_counts_as_adopted(store: Store, root: Path) -> None:
    fetch(store, FILE)
    assert store.records.record_ready([ready(FILE)]) == RecordResult((), (RESTORED.uid,)), "a status proves nothing"
    assert private_files(root, "holders") == set()
    assert store.records.record_ready([ready(FILE)], verified=True) == RecordResult((RESTORED.uid,))
    assert store.records.record_ready([ready(FILE)]) == RecordResult()
    assert store.records.unheld().all_files == ()
    found = store.records.check((FILE.record,), RESTORED.uid)
    assert (found.missing, found.unattested, found.corrupt) == ((), (), ())
    assert store.records.remove(RESTORED.uid, delete=True) == ()
    assert files_below(root) == {FILE.path}


def test_other_bytes_than_those_of_a_record_earn_no_record(store: Store, root: Path) -> None:
    """Neither for the path of a file that another object holds, nor beside the object's own record."""
    publish(store, "b")
    forged = FileRecord(FILE.path, FILE.record.size_bytes, "sha256:" + "0" * 64)
    for owner in (RESTORED, holder("b")):
        holding = Holding(owner, COMMIT, (forged,))
        assert store.records.record_ready([holding]).written == ()
    assert private_files(root, "holders") == {"uid-b.json"}
    assert store.records.check((FILE.record,), "uid-b").unattested == ()


@pytest.mark.parametrize("data", [b"", b"{", b'{"version": 2}'], ids=["empty", "truncated", "later version"])
def test_a_record_that_can_not_be_read_is_written_again(store: Store, root: Path, data: bytes) -> None:
    publish(store, "a")
    publish(store, "b")
    (root / ".provisioner/holders/uid-a.json").write_bytes(data)
    assert store.records.record_ready([ready(FILE, owner=holder("a"))]) == RecordResult(("uid-a",))
    assert store.records.unheld() == store.records.unheld().__class__((), (), ())


def test_a_file_of_another_hub_is_pruned_like_any_other(store: Store, root: Path) -> None:
    file = sample("hubs/mirror.example-0123/acme/tiny/tiny.gguf")
    fetch(store, file)
    unheld = store.records.unheld()
    assert [one.path for one in unheld.published] == [file.path]
    store.records.prune(unheld)
    assert files_below(root) == set()


def test_a_record_without_one_of_the_files_gets_it(store: Store, root: Path) -> None:
    publish(store, "a")
    fetch(store, SECOND)
    assert [file.path for file in store.records.unheld().published] == [SECOND.path]
    both = [ready(FILE, SECOND, owner=holder("a"))]
    assert store.records.record_ready(both) == RecordResult((), ("uid-a",))
    assert store.records.record_ready(both, verified=True) == RecordResult(("uid-a",))
    assert store.records.unheld().all_files == ()
    assert store.records.remove("uid-a", delete=True) == (FILE.path,), "only this one was fetched for it"


@pytest.mark.parametrize("change", ["missing", "other size", "hostile path"])
def test_an_object_whose_files_are_not_there_gets_no_record(store: Store, root: Path, change: str) -> None:
    fetch(store, FILE)
    holding = ready(FILE, SECOND)
    if change == "other size":
        put(root, SECOND.path, b"short")
    elif change == "hostile path":
        holding = replace(holding, files=(*holding.files[:1], FileRecord("../../victim.gguf", 1)))
    assert store.records.record_ready([holding], verified=True) == RecordResult((), (RESTORED.uid,))
    assert private_files(root, "holders") == set()


def test_a_confirmation_can_be_renewed_on_a_full_volume(tmp_path: Path) -> None:
    with small_volume(tmp_path / "small", 2**20) as root, Store.open(root, None) as store:
        store.records.confirm(CLAIM, 1000.4)
        facts = os.statvfs(root)
        put(root, "ballast", bytes(facts.f_bavail * facts.f_frsize))
        store.records.confirm(CLAIM, 2000.4)
        (found,) = store.records.confirmations()
        assert (found.claim, found.at) == ("models/models", 2000)


def test_each_claim_has_a_confirmation_and_a_damaged_one_is_none(store: Store, root: Path) -> None:
    other = Claim("n" * 63, "c" * 253)  # the longest names
    store.records.confirm(CLAIM, 1000)
    store.records.confirm(other, 2000)
    assert {(found.claim, found.at) for found in store.records.confirmations()} == {
        ("models/models", 1000),
        (f"{other.namespace}/{other.name}", 2000),
    }
    for path in (root / ".provisioner").glob("confirmed-*"):
        document = json.loads(path.read_text())
        path.write_text(json.dumps(document)[:-5] if document["at"] == 1000 else "")
    assert [(found.claim, found.at) for found in store.records.confirmations()] == [(None, None)] * 2
    store.records.confirm(CLAIM, 3)
    assert ("models/models", 3) in [(found.claim, found.at) for found in store.records.confirmations()]
