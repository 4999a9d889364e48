"""`model-provisioner prune` on a real store: what it lists, what it deletes, and what it never touches."""

import os
import re
from pathlib import Path

import pytest

from model_provisioner import cli
from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.store.claim import Claim
from model_provisioner.transfer.store.store import Store
from tests.support.models import fetch, files_below, holder, plan_of, private_files, put, sample

HELD, RETAINED, BEGUN, ABANDONED = (sample(f"hf/acme/tiny/{name}.gguf") for name in ("held", "retained", "a", "b"))
FOREIGN = ("local/mine.gguf", "elsewhere/theirs.gguf", "hf/acme/tiny/README.md", "hf/acme/lost+found/x.bin")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with one held file and one held part, one of each without a holder, and files that others put there.

    An operator has just confirmed its records.
    """
    for path in FOREIGN:
        put(tmp_path, path, b"x")
    with Store.open(tmp_path, None) as store:
        store.records.settle(holder("a"), plan_of(HELD, BEGUN))
        store.records.confirm(Claim("models", "models"))
        for file in (HELD, RETAINED):
            fetch(store, file)
        for file in (BEGUN, ABANDONED):
            part = store.files.part(file.planned, 1)
            part.write(0, file.content)
            part.commit(Spans().add(0, part.size))
            part.close()
    (tmp_path / "hf/acme/link.gguf").symlink_to(tmp_path / "local/mine.gguf")
    (tmp_path / "hf/linked").symlink_to(tmp_path / "elsewhere")
    return tmp_path


def everything(root: Path) -> set[str]:
    return files_below(root) | private_files(root, "parts") | private_files(root, "holders")


@pytest.mark.parametrize("flags", [(), ("--dry-run",)], ids=["no flag", "--dry-run"])
def test_what_nobody_holds_is_listed_and_stays(
    root: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
) -> None:
    before = everything(root)
    assert cli.main(["prune", "--store", str(root), *flags]) == 0
    record, file, part, total, advice = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"record: models/a  uid uid-a  2 files  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record)
    assert file == f"{RETAINED.path}  292 KiB"
    assert part.startswith(f".provisioner/parts/{ABANDONED.planned.part_key}.part  ")
    assert total.endswith("(published files: 1, parts: 1)")
    assert advice == "nothing is deleted; add --yes to delete all of this"
    with Store.open(root, None) as store:
        listed = sum(entry.size for entry in store.records.unheld().all_files)
        usage = store.records.usage()
    assert usage.unheld == listed > len(RETAINED.content)
    assert usage.free
    assert usage.free > 0
    assert everything(root) == before


def test_with_yes_exactly_that_is_deleted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = everything(root)
    assert cli.main(["prune", "--store", str(root), "--yes"]) == 0
    key = ABANDONED.planned.part_key
    assert everything(root) == before - {RETAINED.path, f"{key}.part", f"{key}.json"}
    capsys.readouterr()
    assert cli.main(["prune", "--store", str(root)]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["held by no object: 0 B (published files: 0, parts: 0)"]


OLD = b'{"version":1,"claim":"models/models","at":1000000000}'


@pytest.mark.parametrize(
    ("confirmation", "says"),
    [
        (None, "no operator has confirmed that each Ready object has its record on this store: start the operator"),
        (OLD, "the operator that mounts claim models/models has not confirmed within 5m00s"),
        (OLD[:20], "delete .provisioner/confirmed-"),
    ],
    ids=["none", "old", "damaged"],
)
def test_without_a_recent_confirmation_of_the_operator_nothing_is_deleted(
    root: Path, capsys: pytest.CaptureFixture[str], confirmation: bytes | None, says: str
) -> None:
    (found,) = (root / ".provisioner").glob("confirmed-*.json")
    found.unlink() if confirmation is None else found.write_bytes(confirmation)
    before = everything(root)
    assert cli.main(["prune", "--store", str(root), "--yes"]) == 1
    told = capsys.readouterr()
    assert told.err.startswith("nothing is deleted: ")
    assert says in told.err
    assert RETAINED.path in told.out, "what it would delete is shown all the same"
    assert everything(root) == before
    assert cli.main(["prune", "--store", str(root)]) == 0
    assert says in capsys.readouterr().out.splitlines()[-1]


def test_a_released_record_is_shown_as_one(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store.open(root, None) as store:
        store.records.settle(holder("b"), plan_of(HELD))
        store.records.remove("uid-a", delete=False)
    assert cli.main(["prune", "--store", str(root)]) == 0
    assert [line.split("Z")[-1] for line in capsys.readouterr().out.splitlines()[:2]] == [", object deleted", ""]


def test_while_a_record_can_not_be_read_nothing_is_deleted(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / ".provisioner/holders/uid-b.json").write_bytes(b"{")
    before = everything(root)
    assert cli.main(["prune", "--store", str(root), "--yes"]) == 1
    assert "uid-b.json; nothing is deleted" in capsys.readouterr().err
    assert everything(root) == before


def test_what_has_found_a_holder_meanwhile_stays(root: Path) -> None:
    with Store.open(root, None) as store:
        found = store.records.unheld()
        store.records.settle(holder("b"), plan_of(RETAINED))
        store.records.prune(found)
    assert RETAINED.path in files_below(root)


def test_a_directory_without_a_store_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["prune", "--store", str(tmp_path)]) == 1
    assert "holds no store" in capsys.readouterr().err
    assert cli.main(["prune", "--store", str(tmp_path / "missing")]) == 1
    assert "VolumeNotWritable: the directory" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []  # noqa: PTH208 -- nothing at all
