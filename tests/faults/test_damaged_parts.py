"""Damaged parts and journals: a part is resumed only if both are sound, and no wrong file is published."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.store.plan import PlannedFile
from model_provisioner.transfer.store.partfile import WriterSuperseded
from tests.faults.campaign import points, randomness
from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub
from tests.support.models import files_below
from tests.transfer.bench import MODEL, NAME, Bench, Recorder

KIB = 1024
CONTENT = tiny_gguf(size=512 * KIB)
HELD = 256 * KIB  # bytes that the journal names


class Begun:
    """A part with its first 256 KiB, as a stopped transfer leaves it."""

    def __init__(self, bench: Bench, file: PlannedFile) -> None:
        self.bench = bench
        self.file = file
        parts = bench.root / ".provisioner" / "parts"
        self.part, self.journal = (parts / f"{file.part_key}.{kind}" for kind in ("part", "json"))

    def begin(self) -> None:
        with self.bench.store() as store:
            part = store.files.part(self.file, epoch=1)
            part.write(0, CONTENT[:HELD])
            part.commit(Spans().add(0, HELD))
            part.close()

    async def check(self) -> int:
        """Checks that a fetch publishes the right file; returns the bytes that the hub sent for it."""
        sent, recorder = self.bench.hub.bytes_sent(), Recorder()
        assert self.bench.content(await self.bench.fetch(recorder=recorder)) == CONTENT
        check_progress(recorder)
        published = self.bench.root / self.file.path
        published.unlink()
        return self.bench.hub.bytes_sent() - sent


def check_progress(recorder: Recorder) -> None:
    """Progress never falls while `restarts` stays the same."""
    for (done, _, restarts), (later, _, restarts_later) in zip(
        recorder.progress_lines, recorder.progress_lines[1:], strict=False
    ):
        assert restarts_later > restarts or (later >= done and restarts_later == restarts)


@pytest.fixture
async def begun(hub: Hub, tmp_path: Path) -> Begun:
    return await beginning(hub, tmp_path)


async def beginning(hub: Hub, tmp_path: Path, *, lfs: bool = True) -> Begun:
    """The hub publishes a digest only for files in LFS."""
    hub.repository(NAME).add(MODEL, CONTENT, lfs=lfs)
    (tmp_path / "volume").mkdir()
    bench = Bench(hub, tmp_path / "volume")
    return Begun(bench, (await bench.resolve()).files[0])


async def test_what_is_sound_is_continued(begun: Begun) -> None:
    begun.begin()
    assert await begun.check() == len(CONTENT) - HELD


def changed(**fields: Any) -> Callable[[Begun], None]:
    def change(begun: Begun) -> None:
        document = json.loads(begun.journal.read_text())
        begun.journal.write_text(json.dumps({**document, **fields}))

    return change


def without_part(begun: Begun) -> None:
    begun.part.unlink()


def without_journal(begun: Begun) -> None:
    begun.journal.unlink()


def shorter(begun: Begun) -> None:
    begun.part.open("r+b").truncate(HELD)


def longer(begun: Begun) -> None:
    begun.part.open("r+b").truncate(len(CONTENT) + 1)


def a_link(begun: Begun) -> None:
    begun.part.rename(begun.bench.root / "elsewhere.part")
    begun.part.symlink_to(begun.bench.root / "elsewhere.part")


def another_name(begun: Begun) -> None:
    (begun.bench.root / "another.part").hardlink_to(begun.part)


def a_linked_journal(begun: Begun) -> None:
    begun.journal.rename(begun.bench.root / "elsewhere.json")
    begun.journal.symlink_to(begun.bench.root / "elsewhere.json")


# Each of them must start the file again, from the first byte.
STRANGE = {
    "of a later version": changed(version=2),
    "with what we don't know": changed(checksum="x"),
    "of another source": changed(source="hf:owner/other:model.gguf"),
    "of another size": changed(size=len(CONTENT) + 1),
    "of another digest": changed(digest="sha256:" + "0" * 64),
    "of no digest": changed(digest=None),
    "past the end": changed(spans=[[0, len(CONTENT) + 1]]),
    "reversed spans": changed(spans=[[HELD, 0]]),
    "overlapping spans": changed(spans=[[0, HELD], [HELD - 1, HELD + 1]]),
    "numbers as text": changed(size=str(len(CONTENT))),
    "no part": without_part,
    "no journal": without_journal,
    "a shorter part": shorter,
    "a longer part": longer,
    "a linked part": a_link,
    "a part with another name": another_name,
    "a linked journal": a_linked_journal,
}


@pytest.mark.parametrize("change", STRANGE.values(), ids=STRANGE.keys())
async def test_what_is_not_understood_is_not_guessed_at(begun: Begun, change: Callable[[Begun], None]) -> None:
    begun.begin()
    change(begun)
    elsewhere = {path: path.read_bytes() for path in begun.bench.root.glob("*.part")}
    assert await begun.check() == len(CONTENT)
    assert {path: path.read_bytes() for path in elsewhere} == elsewhere, "nobody writes through a link"


async def test_a_journal_of_a_newer_operator_is_left_alone(begun: Begun) -> None:
    begun.begin()
    changed(epoch=2)(begun)
    with pytest.raises(WriterSuperseded):
        await begun.bench.fetch()
    assert (files_below(begun.bench.root), begun.bench.hub.bytes_sent()) == (set(), 0)


async def test_a_journal_that_was_cut_off_anywhere_is_not_believed(begun: Begun) -> None:
    begun.begin()
    whole = begun.journal.read_bytes()
    for length in points(range(len(whole)), sample=6):
        begun.begin()
        begun.journal.write_bytes(whole[:length])
        assert await begun.check() == len(CONTENT)


async def test_a_flipped_bit_anywhere_in_a_journal_publishes_nothing_wrong(begun: Begun) -> None:
    """The journal may name bytes that are missing: then the digest is wrong, and the file is fetched once more."""
    begun.begin()
    whole = begun.journal.read_bytes()
    for bit in points(range(8 * len(whole)), sample=10):
        begun.begin()
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        begun.journal.write_bytes(damaged)
        try:
            assert await begun.check() <= 2 * len(CONTENT)
        except WriterSuperseded:  # the bit has made its epoch a later one
            begun.journal.unlink()


async def test_bit_rot_in_a_part_is_found_and_mended_by_one_more_fetch(begun: Begun) -> None:
    random = randomness()
    for _ in range(len(points(range(40), sample=4))):
        begun.begin()
        position = random.randrange(len(CONTENT) // 64, HELD)
        with begun.part.open("r+b") as part:
            part.seek(position)
            part.write(bytes([CONTENT[position] ^ 1 << random.randrange(8)]))
        assert await begun.check() <= 2 * len(CONTENT)


@pytest.mark.parametrize("published_digest", [True, False])
async def test_a_header_that_rotted_in_the_part_is_fetched_again(
    hub: Hub, tmp_path: Path, *, published_digest: bool
) -> None:
    begun = await beginning(hub, tmp_path, lfs=published_digest)
    assert (begun.file.digest is not None) == published_digest
    begun.begin()
    with begun.part.open("r+b") as part:
        part.write(b"ROT")
    sent = await begun.check()
    assert (
        sent >= len(CONTENT) or not published_digest
    )  # without LFS the hub sends the bytes itself and does not count them
