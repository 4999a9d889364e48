"""What was read of the records is remembered, and never believed of a file that was replaced since."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from model_provisioner.domain.holders import HeldFile, HolderRecord
from model_provisioner.transfer.holderfiles import HolderFiles, Remembered

RECORD = HolderRecord("uid-a", "models", "a", "c" * 40, (HeldFile("hf/acme/a/a.gguf", 100, None),))
OTHER = replace(RECORD, uid="uid-b", name="b")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def remembered() -> Remembered:
    return {}


def later() -> float:
    return time.time() + 10


def test_what_is_as_it_was_is_not_read_again(directory: int, remembered: Remembered) -> None:
    HolderFiles(directory).write(RECORD)
    assert HolderFiles(directory, remembered, later).all().records == (RECORD,)
    facts, known = remembered["uid-a.json"]
    assert known == RECORD
    remembered["uid-a.json"] = facts, OTHER
    assert HolderFiles(directory, remembered, later).all().records == (OTHER,), "it was not looked into"


def test_what_was_replaced_is_read_again_and_what_is_gone_is_forgotten(directory: int, remembered: Remembered) -> None:
    files = HolderFiles(directory, remembered, later)
    for record in (RECORD, OTHER):
        files.write(record)
    assert files.all().records == (RECORD, OTHER)
    files.write(replace(RECORD, released=True))
    assert files.all().records == (replace(RECORD, released=True), OTHER)
    files.unlink("uid-b")
    assert files.all().records == (replace(RECORD, released=True),)
    assert remembered.keys() == {"uid-a.json"}


def test_what_was_written_a_moment_ago_may_be_replaced_unseen(directory: int, remembered: Remembered) -> None:
    files = HolderFiles(directory, remembered)
    files.write(RECORD)
    assert files.all().records == (RECORD,)
    assert remembered == {}


def test_what_can_not_be_read_is_looked_at_each_time(directory: int, remembered: Remembered, tmp_path: Path) -> None:
    (tmp_path / "uid-a.json").write_bytes(b"{")
    files = HolderFiles(directory, remembered, later)
    assert not files.all().all_read
    assert not files.all().all_read
    files.write(RECORD)
    assert files.all().all_read
