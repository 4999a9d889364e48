"""Parts and journals: what is resumed, what starts again, and which errors a volume's failures become."""

import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.errors import InsufficientStorage, PathConflict, ProvisionError, VolumeNotWritable
from model_provisioner.transfer.store.partfile import WriterSuperseded
from model_provisioner.transfer.store.store import Store
from tests.support.models import files_below, private_files, sample
from tests.support.volumes import read_only, small_volume

MIB = 1024 * 1024
FILE = sample()
HALF = Spans().add(0, 100_000)
ALL = Spans().add(0, 300_000)


@pytest.fixture
def half_done(store: Store, root: Path) -> Path:
    """The directory of parts, with a journalled third of FILE."""
    part = store.files.part(FILE.planned, 1)
    part.write(0, FILE.content[:100_000])
    part.commit(HALF)
    part.close()
    return root / ".provisioner" / "parts"


def journal(parts: Path) -> Path:
    return parts / f"{FILE.planned.part_key}.json"


def part_path(parts: Path) -> Path:
    return parts / f"{FILE.planned.part_key}.part"


def test_a_part_is_private_sparse_and_of_full_length(store: Store, root: Path) -> None:
    store.files.part(FILE.planned, 1).close()
    facts = part_path(root / ".provisioner" / "parts").stat()
    assert facts.st_mode & 0o777 == 0o600
    assert facts.st_size == FILE.planned.size
    assert facts.st_blocks == 0


def test_committed_bytes_are_continued_and_others_are_not(store: Store, half_done: Path) -> None:
    part = store.files.part(FILE.planned, 1)
    part.write(200_000, FILE.content[200_000:])
    part.close()

    again = store.files.part(FILE.planned, 2)
    assert (again.spans, again.restarts, again.size) == (HALF, 0, 300_000)
    assert again.read(0, 100_000) == FILE.content[:100_000]
    assert again.read(299_990, 100) == FILE.content[299_990:]
    again.close()


def test_the_journal_knows_identity_and_progress_and_no_address(store: Store, half_done: Path) -> None:
    assert json.loads(journal(half_done).read_text()) == {
        "version": 1,
        "source": FILE.planned.source,
        "size": 300_000,
        "digest": str(FILE.planned.digest),
        "epoch": 1,
        "restarts": 0,
        "spans": [[0, 100_000]],
    }


def test_restarting_throws_bytes_away_and_counts(store: Store, half_done: Path) -> None:
    part = store.files.part(FILE.planned, 1)
    part.restart()
    assert (part.spans, part.restarts) == (Spans(), 1)
    assert part.read(0, 10) == bytes(10)
    part.close()
    again = store.files.part(FILE.planned, 1)
    assert (again.spans, again.restarts) == (Spans(), 1)
    again.close()


def test_discarding_leaves_nothing(store: Store, root: Path, half_done: Path) -> None:
    store.files.part(FILE.planned, 1).discard()
    assert private_files(root, "parts") == set()


def test_another_file_never_continues_the_part(store: Store, root: Path, half_done: Path) -> None:
    other_bytes = replace(FILE.planned, digest=sample(seed=1).planned.digest)
    other_path = replace(FILE.planned, path="hf/acme/tiny@v1/tiny.Q4_K_M.gguf")
    for file in (other_bytes, other_path):
        part = store.files.part(file, 1)
        assert part.spans == Spans()
        part.close()
    assert len(private_files(root, "parts")) == 6


def edited(**changes: object) -> bytes:
    document = {
        "version": 1,
        "source": FILE.planned.source,
        "size": 300_000,
        "digest": str(FILE.planned.digest),
        "epoch": 1,
        "restarts": 4,
        "spans": [[0, 100_000]],
    }
    return json.dumps(document | changes).encode()


DAMAGED = {
    "empty": (b"", 1),
    "truncated": (edited()[:-20], 1),
    "not JSON": (b"\x00" * 200, 1),
    "of a later version": (edited(version=2), 1),
    "with a field of a later version": (edited(chunks=[]), 1),
    "with a number as text": (edited(size="300000"), 1),
    "with spans that overlap": (edited(spans=[[0, 100], [50, 200]]), 1),
    "with a digest that is none": (edited(digest="sha256:zz"), 1),
    "of another source": (edited(source="hf:acme/tiny:other.gguf"), 5),
    "of another digest": (edited(digest=None), 5),
    "with bytes past the end": (edited(spans=[[0, 300_001]]), 5),
}


@pytest.mark.parametrize(("data", "restarts"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_journal_that_can_not_be_trusted_starts_the_file_again(
    store: Store, half_done: Path, data: bytes, restarts: int
) -> None:
    journal(half_done).write_bytes(data)
    part = store.files.part(FILE.planned, 1)
    assert (part.spans, part.restarts) == (Spans(), restarts)
    assert part.read(0, 10) == bytes(10)
    part.close()


def test_a_journal_without_its_part_starts_the_file_again(store: Store, half_done: Path) -> None:
    part_path(half_done).unlink()
    part = store.files.part(FILE.planned, 1)
    assert (part.spans, part.restarts) == (Spans(), 1)
    part.close()


def test_a_truncated_part_starts_the_file_again(store: Store, half_done: Path) -> None:
    os.truncate(part_path(half_done), 150_000)
    part = store.files.part(FILE.planned, 1)
    assert (part.spans, part.restarts) == (Spans(), 1)
    part.close()


def test_a_newer_writer_is_given_way(store: Store, half_done: Path) -> None:
    older = store.files.part(FILE.planned, 1)
    newer = store.files.part(FILE.planned, 2)
    before = journal(half_done).read_bytes()

    for attempt in (
        older.check_writer,
        lambda: older.commit(ALL),
        older.restart,
        lambda: store.files.part(FILE.planned, 1),
    ):
        with pytest.raises(WriterSuperseded, match=r"epoch 2, this one is 1"):
            attempt()
    assert journal(half_done).read_bytes() == before
    assert newer.read(0, 100_000) == FILE.content[:100_000]
    newer.commit(HALF.add(100_000, 100_001))
    older.close()
    newer.close()


def test_what_another_has_published_is_not_written_any_more(store: Store, root: Path, half_done: Path) -> None:
    """The older writer's descriptor is that of the published file."""
    older = store.files.part(FILE.planned, 1)
    older.check_writer()
    newer = store.files.part(FILE.planned, 2)
    newer.write(0, FILE.content)
    newer.commit(ALL)
    newer.check_writer()
    newer.seal()
    store.files.publish(newer, FILE.path)
    for attempt in (older.check_writer, lambda: older.commit(ALL), lambda: store.files.publish(older, FILE.path)):
        with pytest.raises(WriterSuperseded, match="published or given up"):
            attempt()
    older.close()
    assert private_files(root, "parts") == set()


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "pipe"])
def test_what_stands_in_for_a_part_is_never_written(store: Store, root: Path, half_done: Path, kind: str) -> None:
    victim = root / "victim"
    victim.write_bytes(b"v" * FILE.planned.size)
    part_path(half_done).unlink()
    if kind == "symbolic link":
        part_path(half_done).symlink_to(victim)
    elif kind == "hard link":
        part_path(half_done).hardlink_to(victim)
    else:
        os.mkfifo(part_path(half_done))

    part = store.files.part(FILE.planned, 1)
    assert part.spans == Spans()
    part.write(0, FILE.content)
    part.close()
    assert victim.read_bytes() == b"v" * FILE.planned.size
    assert part_path(half_done).read_bytes() == FILE.content


def test_a_journal_behind_a_link_is_not_read_and_not_written(store: Store, root: Path, half_done: Path) -> None:
    elsewhere = root / "elsewhere.json"
    journal(half_done).rename(elsewhere)
    journal(half_done).symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    part = store.files.part(FILE.planned, 1)
    assert part.spans == Spans()
    part.commit(HALF)
    part.close()
    assert elsewhere.read_bytes() == before
    assert not journal(half_done).is_symlink()


def test_a_directory_in_the_way_is_said_to_be_one(store: Store, half_done: Path) -> None:
    part_path(half_done).unlink()
    part_path(half_done).mkdir()
    with pytest.raises(PathConflict, match="is in the way: remove it"):
        store.files.part(FILE.planned, 1)


def test_a_full_volume_keeps_what_was_committed(tmp_path: Path) -> None:
    file = sample(size=12 * MIB)
    with small_volume(tmp_path / "small", 8 * MIB) as root, Store.open(root, None) as store:
        part = store.files.part(file.planned, 1)
        part.write(0, file.content[: 4 * MIB])
        part.commit(Spans().add(0, 4 * MIB))
        with pytest.raises(InsufficientStorage, match=r"could not write hf/acme/.*No space left.*free space"):
            part.write(4 * MIB, file.content[4 * MIB :])
        part.close()

        again = store.files.part(file.planned, 1)
        assert again.spans == Spans().add(0, 4 * MIB)
        assert again.read(0, 4 * MIB) == file.content[: 4 * MIB]
        again.discard()
        assert (store.files.free_bytes() or 0) > 7 * MIB
        assert files_below(root) == set()


def test_a_volume_that_is_full_to_the_last_byte_can_be_opened_and_cleared(tmp_path: Path) -> None:
    file = sample(size=12 * MIB)
    with small_volume(tmp_path / "small", 8 * MIB) as root:
        with Store.open(root, None) as store:
            part = store.files.part(file.planned, 1)
            fill(root / "filler")
            with pytest.raises(InsufficientStorage):
                part.commit(Spans().add(0, 1))
            part.close()
        with Store.open(root, None) as store:
            assert store.files.free_bytes() == 0
            with pytest.raises(InsufficientStorage):
                store.files.part(file.planned, 2)
            assert store.records.check(()).missing == ()


def fill(path: Path) -> None:
    """Writes until the volume has no free block."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_read_only_volume_is_named_and_still_looked_at(tmp_path: Path, root: Path, half_done: Path) -> None:
    with read_only(root, tmp_path / "ro") as volume:
        refused = "Read-only file system.*mounted for writing"
        with pytest.raises(VolumeNotWritable, match=refused):
            Store.open(volume, None)
        store_id = json.loads((volume / ".provisioner/store.json").read_text())["id"]
        with Store.open(volume, store_id) as store:
            assert store.records.check((FILE.record,)).missing == (FILE.path,)
            with pytest.raises(VolumeNotWritable, match=refused):
                store.files.part(FILE.planned, 1)


def test_bytes_lost_by_a_failed_sync_are_never_committed(store: Store, half_done: Path) -> None:
    """After EIO the kernel drops the pages and reports success the next time. A pipe fails to sync too."""
    part = store.files.part(FILE.planned, 1)
    real, (reader, writer) = part.fd, os.pipe()
    part.fd = writer
    with pytest.raises(ProvisionError, match="could not sync"):
        part.commit(HALF.add(100_000, 200_000))
    part.fd = real
    with pytest.raises(VolumeNotWritable, match="could not sync"):
        part.commit(HALF.add(100_000, 200_000))
    assert json.loads(journal(half_done).read_text())["spans"] == [[0, 100_000]]
    part.restart()
    part.commit(Spans())
    part.close()
    os.close(reader)
    os.close(writer)


def test_a_journal_of_absurd_size_is_not_read(store: Store, half_done: Path) -> None:
    os.truncate(journal(half_done), 1 << 40)
    part = store.files.part(FILE.planned, 1)
    assert part.spans == Spans()
    part.close()
