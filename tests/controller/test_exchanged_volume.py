"""Another volume than the recorded one is mounted, or none: nothing is written until a user accepts it."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from model_provisioner.transfer.store.partfile import keys, read_journal
from model_provisioner.transfer.store.posix import opened_root
from model_provisioner.transfer.store.store import Store
from tests.support.ggufs import write_gguf
from tests.support.models import files_below
from tests.support.programs import Program, eventually, holds_a_part
from tests.support.stand import Stand

REF = "hf:acme/tiny"
MIB = 1024**2


def exchange(bench: Stand, operator: Program) -> Callable[[], None]:
    """Kills the operator and unmounts the volume. Returns a function that mounts it again."""
    operator.kill()
    return take_away(bench)


def take_away(bench: Stand) -> Callable[[], None]:
    away = bench.volume.with_name("away")
    bench.volume.rename(away)
    bench.volume.mkdir()

    def bring_back() -> None:
        away.rename(bench.volume)  # at once, since what is there is empty

    return bring_back


def settled(bench: Stand, *names: str) -> None:
    for name in names:
        bench.until(name, "VolumeChanged")
    assert list(bench.volume.iterdir()) == [], "a mount point without its volume stays as it is"


def test_an_empty_mount_point_is_left_alone_until_the_volume_is_back(bench: Stand) -> None:
    operator = bench.start_operator()
    bench.apply("first", modelRef=REF)
    bench.patch("first", annotations={"models.rbee.dev/reconcileAt": "long ago"})
    before = bench.until("first", "Available")["status"]
    bring_back = exchange(bench, operator)
    operator = bench.start_operator()
    bench.apply("newcomer", modelRef=f"{REF}:Q8_0")
    settled(bench, "first", "newcomer")
    bench.patch("first", annotations={"models.rbee.dev/reconcileAt": None})
    eventually(lambda: "lastHandledReconcileAt" not in bench.get("first")["status"], "it is seen")
    settled(bench, "first", "newcomer")
    status = bench.get("first")["status"]
    assert status["nextRetryTime"], "it is looked for again without a user"
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


def test_verify_at_has_the_files_read_of_a_volume_that_is_back(bench: Stand) -> None:
    """The record fits the time and size of the file. `verifyAt` is not handled before every byte is read."""
    operator = bench.start_operator()
    bench.apply("first", modelRef=REF)
    path = bench.until("first", "Available")["status"]["model"]["path"]
    content, facts = (bench.volume / path).read_bytes(), (bench.volume / path).stat()
    bring_back = exchange(bench, operator)
    operator = bench.start_operator()
    settled(bench, "first")
    bench.patch("first", annotations={"models.rbee.dev/verifyAt": "now"})
    operator.kill()
    bring_back()
    (bench.volume / path).chmod(0o644)
    (bench.volume / path).write_bytes(bytes(len(content)))
    os.utime(bench.volume / path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    bench.start_operator()

    def answered() -> bool:
        return bool(bench.get("first")["status"].get("lastHandledVerifyAt") == "now")

    eventually(answered, "it is answered")
    assert (bench.volume / path).read_bytes() == content
    bench.until("first", "Available")
    assert ("Warning", "DigestMismatch") in bench.events("first")


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
    accepted = bench.until("paused", "Suspended")["status"]
    assert accepted["progress"]["bytes"] == 0, "nothing of it is on this volume"

    bench.patch("one", annotations={"models.rbee.dev/reconcileAt": "now"})
    eventually(lambda: bench.get("one")["status"].get("lastHandledReconcileAt") == "now", "it is seen")
    time.sleep(1)
    settled(bench, "one")
    bench.patch("two", annotations={"models.rbee.dev/reconcileAt": "now"})
    model = bench.until("two", "Available")["status"]["model"]
    bench.patch("one", annotations={"models.rbee.dev/reconcileAt": "later"})
    assert bench.until("one", "Available")["status"]["model"]["storeID"] == model["storeID"]
    with Store.open(Path(bench.volume), model["storeID"]):
        assert files_below(bench.volume) == {model["path"]}


def test_a_volume_that_goes_away_under_running_downloads_brings_back_what_they_had(
    bench: Stand, tmp_path: Path
) -> None:
    """One worker finishes in the former directory, which it has open; the other one is killed half way."""
    model = write_gguf(tmp_path / "m.gguf", size=48 * MIB)
    gates = {name: bench.hub.pause_at(32 * MIB, f"acme/{name}") for name in ("half", "finished")}
    operator, workers = bench.start_operator(module="tests.support.hasty"), list[int]()
    for name, gate in gates.items():
        bench.hub.repository(f"acme/{name}").add("m.Q4_K_M.gguf", model)
        bench.apply(name, modelRef=f"hf:acme/{name}")
        gate.wait_reached()
        bench.until(name, "Downloading")
        workers.append(next(pid for pid in operator.children() if holds_a_part(pid) and pid not in workers))
    bring_back = take_away(bench)
    os.kill(workers[0], signal.SIGKILL)
    gates["finished"].release()
    settled(bench, *gates)
    assert bench.catalog() == {}
    assert not any("Available" in bench.history.reasons(name) for name in gates)
    gates["half"].release()
    bench.hub.clear_log()
    journalled = journalled_bytes(bench.volume.with_name("away"))
    bring_back()
    for name in gates:
        assert bench.until(name, "Available")["status"]["attempts"] == 1
        assert (bench.volume / f"hf/acme/{name}/m.Q4_K_M.gguf").read_bytes() == model.read_bytes()
    assert bench.hub.bytes_sent("acme/finished") == 0
    assert bench.hub.bytes_sent("acme/half") == model.stat().st_size - journalled


def journalled_bytes(volume: Path) -> int:
    """The bytes that the journal of the only part has."""
    with opened_root(volume / ".provisioner" / "parts") as parts:
        (key,) = keys(parts)
        journal = read_journal(parts, key)
    assert journal
    return journal.spans.total
