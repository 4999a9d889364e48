"""A volume that fails or loses power at any call: no wrong file is published, and the next fetch recovers."""

from pathlib import Path

import pytest

from model_provisioner.domain.errors import InsufficientStorage, ProvisionError, VolumeNotWritable
from model_provisioner.transfer.store.store import Store
from tests.faults.campaign import points
from tests.support.faulty_volume import FaultyVolume
from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub
from tests.support.models import attest, files_below, holder, plan_of, private_files, sample
from tests.transfer.bench import HOLDER, MODEL, NAME, Bench
from tests.transfer.store_writer import bring

MIB = 1024**2
FILE = sample()
SETTLED = holder("writer")

ENDS = ("create", "mkdir", "write", "truncate", "fsync", "rename")
# The errno, the calls that fail with it (none: all), and the error that the fetch must raise.
FAULTS = {
    "full": ("ENOSPC", ENDS, InsufficientStorage),
    "over quota": ("EDQUOT", ENDS, InsufficientStorage),
    "broken": ("EIO", (), VolumeNotWritable),
    "read-only": ("EROFS", (), VolumeNotWritable),
    "stale": ("ESTALE", (), VolumeNotWritable),
}


def provide(root: Path) -> None:
    """The steps of the store worker and a fetcher for one object, in two commits."""
    with Store.open(root, None) as store:
        store.records.settle(SETTLED, plan_of(FILE))
        if store.files.published(FILE.planned) is None:
            bring(store, FILE)
        attest(store, SETTLED.uid, FILE)


def calls_of_a_good_run(volume: FaultyVolume, calls: tuple[str, ...] = ()) -> int:
    """The number of calls at which a fault can be injected."""
    volume.fail("EIO", first=10**9, calls=calls)
    provide(volume.root)
    number = volume.heal()
    volume.format()
    assert number > 20
    return number


def check_nothing_wrong(root: Path, path: str, content: bytes) -> None:
    assert files_below(root) <= {path}
    assert path not in files_below(root) or (root / path).read_bytes() == content


def check_leaving(root: Path) -> None:
    """Checks that the removal of the last holder leaves nothing behind."""
    with Store.open(root, None) as store:
        assert store.records.remove(SETTLED.uid, delete=True) == (FILE.path,)
    assert private_files(root, "parts") == private_files(root, "holders") == set()


@pytest.mark.parametrize(("error", "calls", "told"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_from_any_call_on_is_told_and_recovered_from(
    volume: FaultyVolume, error: str, calls: tuple[str, ...], told: type[ProvisionError]
) -> None:
    failed = 0
    for first in range(1, calls_of_a_good_run(volume, calls) + 1):
        volume.fail(error, first, calls=calls)
        try:
            provide(volume.root)
        except told:
            failed += 1
        volume.heal()
        check_nothing_wrong(volume.root, FILE.path, FILE.content)
        provide(volume.root)
        assert (volume.root / FILE.path).read_bytes() == FILE.content
        check_leaving(volume.root)
        volume.format()
    assert failed > 20, "chmod and the like are done without, all else is told"


@pytest.mark.parametrize(("error", "calls", "told"), list(FAULTS.values())[:3], ids=list(FAULTS)[:3])
def test_a_single_fault_at_any_call_does_no_harm(
    volume: FaultyVolume, error: str, calls: tuple[str, ...], told: type[ProvisionError]
) -> None:
    for number in range(1, calls_of_a_good_run(volume, calls) + 1):
        volume.fail(error, number, number, calls)
        try:
            provide(volume.root)
        except told:
            check_nothing_wrong(volume.root, FILE.path, FILE.content)
        volume.heal()
        provide(volume.root)
        assert (volume.root / FILE.path).read_bytes() == FILE.content
        volume.format()


def test_what_was_said_to_be_published_survives_any_loss_of_power(volume: FaultyVolume) -> None:
    """Power is lost at each call in turn, and in the last round after the end."""
    for first in range(1, calls_of_a_good_run(volume) + 2):
        volume.fail("EIO", first)
        try:
            provide(volume.root)
            said = True
        except ProvisionError:
            said = False
        volume.heal()
        volume.power_cycle()
        check_nothing_wrong(volume.root, FILE.path, FILE.content)
        if said:
            assert files_below(volume.root) == {FILE.path}, f"lost after power went at call {first}"
        provide(volume.root)
        assert (volume.root / FILE.path).read_bytes() == FILE.content
        check_leaving(volume.root)
        volume.format()


LARGE = tiny_gguf(size=20 * MIB)  # three times the bytes between two journals


async def outcome(bench: Bench) -> ProvisionError | None:
    try:
        await bench.fetch()
    except ProvisionError as error:
        return error
    return None


@pytest.mark.parametrize("fault", ["full", "over quota", "broken", "power"])
async def test_a_transfer_survives_a_fault_at_any_call(volume: FaultyVolume, hub: Hub, fault: str) -> None:
    """The whole engine: from the hub through the part to the published file."""
    error, calls, told = FAULTS.get(fault, ("EIO", (), VolumeNotWritable))
    hub.repository(NAME).add(MODEL, LARGE)
    bench = Bench(hub, volume.root)
    volume.fail("EIO", first=10**9, calls=calls)
    path = (await bench.fetch()).files[0].path
    total = volume.heal()
    volume.format()
    for first in points(range(1, total + 1), sample=8):
        before = hub.bytes_sent()
        volume.fail(error, first, calls=calls)
        failure = await outcome(bench)
        volume.heal()
        if fault == "power":
            volume.power_cycle()
        assert failure is None or isinstance(failure, told), failure
        if told is InsufficientStorage and failure and "open the store" not in failure.message:
            assert "more and the volume has" in failure.message
        check_nothing_wrong(volume.root, path, LARGE)
        assert failure is not None or files_below(volume.root) == {path}
        assert bench.content(await bench.fetch()) == LARGE
        assert hub.bytes_sent() - before <= len(LARGE) + 64 * MIB
        with bench.store() as store:
            assert store.records.remove(HOLDER.uid, delete=True) == (path,)
        volume.format()
