"""Holder records are cached, and read again after their file was replaced."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from model_provisioner.domain.store.holders import HeldFile, HolderRecord
from model_provisioner.transfer.store.holder_records import HolderRecords, RecordCache

RECORD = HolderRecord("uid-a", "models", "a", "c" * 40, (HeldFile("hf/acme/a/a.gguf", 100, None),))
OTHER = replace(RECORD, uid="uid-b", name="b")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def cache() -> RecordCache:
    return RecordCache()


def later() -> float:
    return time.time() + 10


def test_what_is_as_it_was_is_not_read_again(directory: int, cache: RecordCache) -> None:
    HolderRecords(directory).write(RECORD)
    assert HolderRecords(directory, cache, later).all().records == (RECORD,)
    version, known = cache.files["uid-a.json"]
    assert known == RECORD
    cache.files["uid-a.json"] = version, OTHER
    assert HolderRecords(directory, cache, later).all().records == (OTHER,), "it was not looked into"


def test_what_was_replaced_is_read_again_and_what_is_gone_is_forgotten(directory: int, cache: RecordCache) -> None:
    files = HolderRecords(directory, cache, later)
    for record in (RECORD, OTHER):
        files.write(record)
    assert files.all().records == (RECORD, OTHER)
    files.write(replace(RECORD, released=True))
    assert files.all().records == (replace(RECORD, released=True), OTHER)
    files.unlink("uid-b")
    assert files.all().records == (replace(RECORD, released=True),)
    assert cache.files.keys() == {"uid-a.json"}


def test_what_was_written_a_moment_ago_may_be_replaced_unseen(directory: int, cache: RecordCache) -> None:
    files = HolderRecords(directory, cache)
    files.write(RECORD)
    assert files.all().records == (RECORD,)
    assert cache.files == {}


def test_what_can_not_be_read_is_looked_at_each_time(directory: int, cache: RecordCache, tmp_path: Path) -> None:
    (tmp_path / "uid-a.json").write_bytes(b"{")
    files = HolderRecords(directory, cache, later)
    assert not files.all().complete
    assert not files.all().complete
    files.write(RECORD)
    assert files.all().complete


class CachedRecords:
    """Records as a store worker reads them, with a clock that stands still until the test sets `now`."""

    def __init__(self, directory: int) -> None:
        self.now = 0.0
        self.cache = RecordCache()
        self.files = HolderRecords(directory, self.cache, monotonic=lambda: self.now)

    def others(self) -> tuple[HolderRecord, ...]:
        return self.files.recent_others("uid-of-somebody").records


def test_who_asks_again_within_a_moment_is_told_what_was_read_and_what_it_has_written_since(directory: int) -> None:
    cache, fetcher = CachedRecords(directory), HolderRecords(directory)
    assert cache.others() == ()
    cache.files.write(RECORD)
    cache.files.write(OTHER)
    assert cache.others() == (RECORD, OTHER)
    assert cache.files.recent_others("uid-a").records == (OTHER,)
    cache.files.unlink("uid-b")
    assert cache.others() == (RECORD,)
    fetcher.write(replace(RECORD, released=True))
    assert cache.others() == (RECORD,)
    cache.now = 0.3
    assert cache.others() == (replace(RECORD, released=True),)


def test_what_was_read_of_another_directory_is_not_told(tmp_path: Path) -> None:
    cache = RecordCache()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        fd = os.open(tmp_path / name, os.O_RDONLY)
        files = HolderRecords(fd, cache, monotonic=lambda: 0.0)
        assert files.recent_others("uid-of-somebody").records == ()
        files.write(RECORD)
        assert files.recent_others("uid-of-somebody").records == (RECORD,)
        os.close(fd)


def test_what_cannot_be_read_is_told_also_a_moment_later(directory: int, tmp_path: Path) -> None:
    (tmp_path / "uid-a.json").write_bytes(b"{")
    cache = CachedRecords(directory)
    assert not cache.files.recent_others("uid-b").complete
    cache.files.write(OTHER)
    assert not cache.files.recent_others("uid-b").complete
    cache.files.write(RECORD)
    assert cache.files.recent_others("uid-b").complete
