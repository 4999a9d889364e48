"""Another volume than the recorded one at the mount point, or none: nothing is written until somebody says so."""

import time
from collections.abc import Callable
from pathlib import Path

from model_provisioner.transfer.store import Store
from tests.support.models import files_below
from tests.support.programs import Program, eventually
from tests.support.stand import Stand

REF = "hf:acme/tiny"


def exchange(bench: Stand, operator: Program) -> Callable[[], None]:
    """The volume is gone when the next operator comes; what brings it back."""
    operator.kill()
    away = bench.volume.with_name("away")
    bench.volume.rename(away)
    bench.volume.mkdir()

    def bring_back() -> None:
        bench.volume.rmdir()
        away.rename(bench.volume)

    return bring_back


def settled(bench: Stand, *names: str) -> None:
    for name in names:
        bench.until(name, "VolumeChanged")
    assert list(bench.volume.iterdir()) == [], "a mount point without its volume stays as it is"


def test_an_empty_mount_point_is_left_alone_until_the_volume_is_back(bench: Stand) -> None:
    operator = bench.start_operator()
    bench.apply("first", modelRef=REF)
    before = bench.until("first", "Available")["status"]
    bring_back = exchange(bench, operator)
    operator = bench.start_operator()
    bench.apply("newcomer", modelRef=f"{REF}:Q8_0")
    settled(bench, "first", "newcomer")
    status = bench.get("first")["status"]
    assert status["nextRetryTime"], "it is looked for again without anybody's help"
    assert status["model"] == before["model"]
    ready = next(one for one in status["conditions"] if one["type"] == "Ready")
    assert ready["status"] == "False"
    assert f"recorded on store {before['model']['storeID']}" in ready["message"]

    bench.apply("unresolved", modelRef="hf:acme/none")
    bench.delete("unresolved")
    bench.until_gone("unresolved")
    assert list(bench.volume.iterdir()) == [], "a deletion makes no store either"

    operator.kill()
    bring_back()
    bench.start_operator()
    bench.until("first", "Available")
    bench.until("newcomer", "Available")
    assert bench.get("first")["status"]["model"] == before["model"]


def test_a_volume_that_is_back_needs_no_hub_for_what_is_on_it(bench: Stand) -> None:
    operator = bench.start_operator()
    bench.apply("first", modelRef=REF)
    before = bench.until("first", "Available")["status"]
    bring_back = exchange(bench, operator)
    operator = bench.start_operator()
    settled(bench, "first")
    bench.hub.down()
    operator.kill()
    bring_back()
    bench.start_operator()
    assert bench.until("first", "Available")["status"]["model"] == before["model"]
    assert bench.catalog()["first.path"] == before["model"]["path"]


def test_what_was_changed_on_a_volume_while_it_was_away_is_not_believed(bench: Stand) -> None:
    operator = bench.start_operator()
    bench.apply("first", modelRef=REF)
    path = bench.until("first", "Available")["status"]["model"]["path"]
    content = (bench.volume / path).read_bytes()
    bring_back = exchange(bench, operator)
    operator = bench.start_operator()
    settled(bench, "first")
    operator.kill()
    bring_back()
    (bench.volume / path).chmod(0o644)
    (bench.volume / path).write_bytes(bytes(len(content)))
    bench.start_operator()
    bench.until("first", "Available")
    assert (bench.volume / path).read_bytes() == content


def test_the_annotation_accepts_another_volume_once_all_have_said_so(bench: Stand) -> None:
    operator = bench.start_operator()
    for name in ("one", "two"):
        bench.apply(name, modelRef=REF)
        bench.until(name, "Available")
    gate = bench.hub.pause_at(50_000, "tiny.Q8_0.gguf")
    bench.apply("paused", modelRef=f"{REF}:Q8_0")
    gate.wait_reached()
    bench.until("paused", "Downloading")
    bench.patch("paused", {"suspend": True})
    bench.until("paused", "Suspended")
    exchange(bench, operator)
    bench.start_operator()
    settled(bench, "one", "two", "paused")
    bench.patch("paused", annotations={"models.rbee.dev/reconcileAt": "now"})
    bench.until("paused", "Suspended")

    bench.patch("one", annotations={"models.rbee.dev/reconcileAt": "now"})
    eventually(lambda: bench.get("one")["status"].get("lastHandledReconcileAt") == "now", "it is seen")
    time.sleep(1)
    settled(bench, "one")
    bench.patch("two", annotations={"models.rbee.dev/reconcileAt": "now"})
    accepted = bench.until("two", "Available")["status"]["model"]
    bench.patch("one", annotations={"models.rbee.dev/reconcileAt": "later"})
    assert bench.until("one", "Available")["status"]["model"]["storeID"] == accepted["storeID"]
    with Store.open(Path(bench.volume), accepted["storeID"]):
        assert files_below(bench.volume) == {accepted["path"]}
