"""Another process changes a file while it is fetched or hashed: nothing unverified is published or recorded."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_provisioner.domain.errors import SourceUnavailable, VolumeUnsuitable
from tests.support.ggufs import tiny_gguf
from tests.support.models import files_below, private_files, put
from tests.transfer.bench import HOLDER, MODEL, NAME, Bench, Recorder, sha256

CONTENT = tiny_gguf(size=6 * 1024**2)
PLACE = 500_000  # behind the header, and hashed before the first report
EVIL = CONTENT[:PLACE] + bytes([CONTENT[PLACE] ^ 1]) + CONTENT[PLACE + 1 :]
PATH = f"hf/{NAME}/{MODEL}"


@dataclass
class Attack(Recorder):
    """Does `deed` once, when every byte is written and the digest is not complete yet."""

    deed: Callable[[], None] | None = None

    def verifying(self, hashed: int, total: int, received: int) -> None:
        super().verifying(hashed, total, received)
        deed = self.deed
        if deed is not None and hashed < total:
            self.deed = None
            deed()


@pytest.fixture
def bench(bench: Bench) -> Bench:
    bench.hub.repository(NAME).add(MODEL, CONTENT)
    return bench


def part(bench: Bench) -> Path:
    (found,) = (bench.root / ".provisioner/parts").glob("*.part")
    return found


def write(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(EVIL)


def exchange(path: Path) -> None:
    path.with_suffix(".evil").write_bytes(EVIL)
    path.with_suffix(".evil").chmod(0o600)
    path.with_suffix(".evil").rename(path)


@pytest.mark.parametrize("deed", [write, exchange])
async def test_a_part_that_changes_while_it_is_hashed_is_fetched_again(
    bench: Bench, deed: Callable[[Path], None]
) -> None:
    recorder = Attack(deed=lambda: deed(part(bench)))
    with pytest.raises(VolumeUnsuitable, match=f"has exchanged or changed {PATH} after it was verified"):
        await bench.fetch(recorder=recorder)
    assert recorder.deed is None
    assert (files_below(bench.root), private_files(bench.root, "parts")) == (set(), set())
    assert bench.content(await bench.fetch()) == CONTENT


async def test_a_part_that_only_gets_another_mode_is_hashed_again_and_not_fetched(bench: Bench) -> None:
    """As when a pod mounts the volume and Kubernetes gives every file to its `fsGroup`."""
    recorder = Attack(deed=lambda: part(bench).chmod(0o660))
    provided = await bench.fetch(recorder=recorder)
    assert recorder.deed is None
    assert bench.content(provided) == CONTENT
    assert bench.hub.bytes_sent() == len(CONTENT)
    assert (bench.root / PATH).stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("deed", [write, exchange])
async def test_a_published_file_that_changes_while_it_is_hashed_is_not_recorded(
    bench: Bench, deed: Callable[[Path], None]
) -> None:
    file = put(bench.root, PATH, CONTENT)
    recorder = Attack(deed=lambda: deed(file))
    with pytest.raises(VolumeUnsuitable, match=f"has exchanged or changed {PATH} while it was verified"):
        await bench.fetch(recorder=recorder)
    assert recorder.deed is None
    with bench.store() as store:
        planned = (await bench.resolve()).files[0]
        found = store.files.published(planned)
        assert found is not None
        assert found.digest is None
    assert bench.content(await bench.fetch()) == CONTENT
    with bench.store() as store:
        assert store.records.check((), HOLDER.uid).unattested == ()


async def test_a_local_file_that_is_still_written_is_tried_again(bench: Bench) -> None:
    file = put(bench.root, "local/mine.gguf", CONTENT)
    with pytest.raises(SourceUnavailable, match=r"local/mine\.gguf has changed .*still being written"):
        await bench.fetch("local:mine.gguf", recorder=Attack(deed=lambda: os.utime(file)))
    assert (await bench.fetch("local:mine.gguf")).files[0].digest == sha256(CONTENT)
