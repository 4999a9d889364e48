"""A file system whose numbers make no sense (statvfs, st_nlink, st_blocks): models are fetched and resumed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.errors import InsufficientStorage
from model_provisioner.transfer.store.store import Store
from tests.support.faulty_volume import FaultyVolume, faulty_volume
from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub
from tests.support.models import fetch, holder, plan_of, sample
from tests.transfer.bench import MODEL, NAME, Bench

MIB = 1024**2
CONTENT = tiny_gguf(size=2 * MIB)
FILE = sample()
HALF = Spans().add(0, 150_000)

NONSENSE = {
    "no numbers": {"f_bsize": 0, "f_frsize": 0, "f_blocks": 0, "f_bfree": 0, "f_bavail": 0},
    "zero sizes": {"f_blocks": 0, "f_bfree": 0, "f_bavail": 0},
    "more free than there are": {"f_blocks": 10, "f_bfree": 5, "f_bavail": 11},
    "a negative number": {"f_bavail": 2**64 - 1},
    "huge": {"f_blocks": 2**64 - 1, "f_bfree": 2**64 - 1, "f_bavail": 2**64 - 1},
    "nothing used, nothing available": {"f_blocks": 100, "f_bfree": 100, "f_bavail": 0},
}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        running.repository(NAME).add(MODEL, CONTENT)
        yield running


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[FaultyVolume]:
    with faulty_volume(tmp_path / "odd") as mounted:
        yield mounted


@pytest.mark.parametrize("fields", NONSENSE.values(), ids=NONSENSE.keys())
async def test_free_space_that_makes_no_sense_is_unknown_and_the_write_decides(
    hub: Hub, volume: FaultyVolume, fields: dict[str, int]
) -> None:
    volume.answer(**fields)
    bench = Bench(hub, volume.root)
    plan = await bench.resolve()
    with bench.store() as store:
        assert store.files.room((), plan.files).free is None
        assert store.records.usage().free is None
    assert bench.content(await bench.transfer(plan)) == CONTENT

    other = await bench.resolve(f"hf:{NAME}:{MODEL}", revision=None)
    (volume.root / plan.files[0].path).unlink()
    volume.fail("ENOSPC", calls=("write",))
    with pytest.raises(InsufficientStorage, match="the volume does not say how much is free"):
        await bench.transfer(other)


async def test_a_volume_that_says_it_is_full_is_believed(hub: Hub, volume: FaultyVolume) -> None:
    volume.answer(f_blocks=1000, f_bfree=1, f_bavail=0)
    with pytest.raises(InsufficientStorage, match="the volume has 0 B free"):
        await Bench(hub, volume.root).fetch()


@pytest.mark.parametrize("fields", [{"st_nlink": 0}, {"st_blocks": 0}, {"st_blocks": 2**40}], ids=str)
def test_a_part_is_resumed_whatever_the_numbers_of_its_file(volume: FaultyVolume, fields: dict[str, int]) -> None:
    volume.answer(**fields)
    with Store.open(volume.root, None) as store:
        store.records.settle(holder("a"), plan_of(FILE))
        part = store.files.part(FILE.planned, 1)
        part.write(0, FILE.content[:150_000])
        part.commit(HALF)
        part.close()
        assert store.files.room((FILE.planned,), ()).needed in {0, 150_000}
        part = store.files.part(FILE.planned, 1)
        assert part.spans == HALF
        part.close()
        store.records.remove("uid-a", delete=False)
        part = store.files.part(FILE.planned, 1)
        part.write(0, FILE.content[:150_000])
        part.commit(HALF)
        part.close()
        assert 150_000 <= sum(file.size for file in store.records.unheld().parts) <= FILE.planned.size
        fetch(store, FILE)
    assert (volume.root / FILE.path).read_bytes() == FILE.content
