"""Which published file may be copied for an object: the very file of the same source, which publishes its digest."""

from dataclasses import replace

import pytest

from model_provisioner.domain.store.copying import has_copy, may_be_copied, moved
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.holders import HeldFile, HolderRecord
from model_provisioner.domain.store.plan import Archive, PlannedFile

DIGEST, OTHER = Digest("1" * 64), Digest("2" * 64)
FILE = PlannedFile("hf/a/b/m.gguf", 100, DIGEST, "hf:a/b:m.gguf", "https://hub/m", digest_published=True)
RECORD = HolderRecord("uid", "models", "m", None, (HeldFile(FILE.path, 100, DIGEST, mtime_ns=5),), (FILE.part_key,))


def test_a_file_that_its_source_has_named_by_its_digest_is_a_copy() -> None:
    assert has_copy(FILE, 100, 5, [RECORD])
    elsewhere = replace(FILE, path="hf/a/b/commit/m.gguf", url="https://hub/another-commit/m", endpoint="https://hub")
    assert has_copy(moved(elsewhere, FILE.path), 100, 5, [RECORD]), "its path on the other claim does not matter"


@pytest.mark.parametrize(
    "file",
    [
        replace(FILE, source="hf:evil/b:m.gguf"),
        replace(FILE, source="hf:a/b:m.gguf at https://evil"),
        replace(FILE, digest=OTHER),
        replace(FILE, size=99),
        replace(FILE, path="hf/a/b/other.gguf"),
        replace(FILE, digest_published=False),
        replace(FILE, url=None),
        replace(FILE, archive=Archive(OTHER, 200, 50)),
    ],
    ids=["source", "hub", "digest", "size", "path", "computed", "local", "archive"],
)
def test_any_other_file_is_not(file: PlannedFile) -> None:
    assert not has_copy(file, file.size, 5, [RECORD])


@pytest.mark.parametrize(
    "record",
    [
        replace(RECORD, part_keys=()),
        replace(RECORD, files=()),
        replace(RECORD, files=(HeldFile(FILE.path, 100, None, mtime_ns=5),)),
        replace(RECORD, files=(HeldFile(FILE.path, 100, OTHER, mtime_ns=5),)),
        replace(RECORD, files=(HeldFile(FILE.path, 100, DIGEST),)),
    ],
    ids=["of another source", "no file", "not verified", "another digest", "corrupt"],
)
def test_without_a_record_that_confirms_it_nothing_is(record: HolderRecord) -> None:
    assert not has_copy(FILE, 100, 5, [record])


def test_a_file_that_has_changed_since_is_not() -> None:
    assert not has_copy(FILE, 100, 6, [RECORD])
    assert not has_copy(FILE, 101, 5, [RECORD])


def test_a_file_without_a_digest_of_its_source_is_not_asked_for() -> None:
    assert may_be_copied(FILE)
    assert not may_be_copied(replace(FILE, digest=None))
