"""A full volume: each step that finds it raises an error with needed and free bytes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_provisioner.domain.errors import InsufficientStorage
from model_provisioner.domain.store.space import Room
from model_provisioner.transfer.store.store import Store
from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub
from tests.support.models import fetch, files_below, holder, plan_of, private_files, put, sample
from tests.support.volumes import small_volume
from tests.transfer.bench import HOLDER, MODEL, NAME, Bench

MIB = 1024**2
SMALL = sample("hf/acme/a/small.gguf", size=8192)
BOTH = r"needs .* more and the volume has .* free"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    with small_volume(tmp_path / "small", 4 * MIB) as directory:
        yield directory


def fill(root: Path) -> Path:
    """Writes a file that takes every free block."""
    facts = os.statvfs(root)
    return put(root, "ballast", bytes(facts.f_bavail * facts.f_frsize))


async def test_a_full_volume_is_told_before_a_part_is_made(hub: Hub, root: Path) -> None:
    hub.repository(NAME).add(MODEL, tiny_gguf(size=3 * MIB))
    bench = Bench(hub, root)
    plan = await bench.resolve()
    with bench.store() as store:
        store.records.settle(HOLDER, plan)
    ballast = fill(root)
    with pytest.raises(InsufficientStorage, match=rf"{NAME}.* needs 3 MiB more and the volume has 0 B free: delete"):
        await bench.transfer(plan)
    assert private_files(root, "parts") == set()
    ballast.unlink()
    await bench.transfer(plan)


def test_a_record_that_has_no_room_is_told_with_both_numbers(root: Path) -> None:
    with Store.open(root, None) as store:
        fill(root)
        with pytest.raises(InsufficientStorage, match=rf"record what models/a holds: .*{BOTH}"):
            store.records.settle(holder("a"), plan_of(SMALL))
        assert private_files(root, "holders") <= {"uid-a.json.new"}


def test_what_is_there_needs_no_room_again(root: Path) -> None:
    begun = sample("hf/acme/a/begun.gguf", size=16384)
    with Store.open(root, None) as store:
        fetch(store, SMALL)
        part = store.files.part(begun.planned, 1)
        part.write(0, begun.content[:8192])
        free = store.files.free_bytes()
        assert store.files.room((begun.planned,), (SMALL.planned,)) == Room(8192, free)
        assert store.files.room((SMALL.planned,), (begun.planned,)) == Room(8192 + 8192, free)
        part.close()
    assert files_below(root) == {SMALL.path}


def test_a_quota_that_ends_before_the_volume_is_told_as_such() -> None:
    error = Room(10, 1000).explain("hf:a/b", InsufficientStorage("could not write: Disk quota exceeded"))
    assert (
        error.message == "could not write: Disk quota exceeded (hf:a/b needs 10 B more and the volume has 1000 B free)"
    )
    Room(10, 10).check("hf:a/b")


def test_a_volume_that_is_full_without_having_said_so_is_told_as_such() -> None:
    Room(10**15, None).check("hf:a/b")
    error = Room(10, None).explain("hf:a/b", InsufficientStorage("could not write: No space left on device"))
    assert error.message.endswith("(hf:a/b needs 10 B more and the volume does not say how much is free)")
