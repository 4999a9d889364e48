"""Objects deleted in every state: they disappear soon, and their files as `reclaimPolicy` says."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.local.api import ApiError
from deploy.local.cluster import Cluster
from tests.support.api_proxy import ApiProxy, Asked, kopfs_watch, status_patches
from tests.support.gguf_headers import write_sparse
from tests.support.ggufs import tiny_gguf, write_gguf
from tests.support.programs import Program, eventually, fetcher, open_files, stopped
from tests.support.stand import Stand, stand
from tests.support.volumes import small_volume

MIB = 1024**2
SIZE = 24 * MIB
LONG_TO_HASH = 24 * 1024 * MIB
SOON_SECONDS = 45  # 15 on a quiet machine; tests run several at a time
START_SECONDS = 10

STATES = {
    "ready": "Available",
    "kept": "Available",
    "suspended": "Suspended",
    "downloading": "Downloading",
    "stalled": "SourceNotFound",
    "resolving": "Resolving",
    "verifying": "Verifying",
    "queued": "Queued",
}


@pytest.fixture
def silent_host() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def operator(bench: Stand, silent_host: str, tmp_path: Path) -> Program:
    """An operator with one object in each of STATES. All have the policy Delete, except `kept` and the local one."""
    for name in ("suspended", "downloading"):
        bench.hub.repository(f"acme/{name}").add("l.Q4_K_M.gguf", write_gguf(tmp_path / "l.gguf", size=SIZE))
    (bench.volume / "local").mkdir()
    write_sparse(bench.volume / "local" / "long.gguf", LONG_TO_HASH)
    gate = bench.hub.pause_at(SIZE // 2)
    home = f"{bench.namespace}-home"  # the Lease outlasts the namespace of the objects
    bench.cluster.create_namespace(home)
    program = bench.start_operator("--slots=1", f"--allow-host={silent_host}", f"--lease-namespace={home}")
    bench.apply("ready", modelRef="hf:acme/tiny:Q4_K_M", reclaimPolicy="Delete")
    bench.apply("kept", modelRef="hf:acme/tiny:Q8_0")
    bench.apply("suspended", modelRef="hf:acme/suspended", reclaimPolicy="Delete")
    gate.wait_reached()
    bench.until("suspended", "Downloading")
    bench.patch("suspended", {"suspend": True})
    bench.until("suspended", "Suspended")
    bench.apply("stalled", modelRef="hf:acme/none", reclaimPolicy="Delete")
    bench.apply("resolving", modelRef="hf:acme/tiny", endpoint=f"https://{silent_host}", reclaimPolicy="Delete")
    bench.apply("downloading", modelRef="hf:acme/downloading", reclaimPolicy="Delete")
    bench.until("downloading", "Downloading")
    bench.apply("verifying", modelRef="local:long.gguf")
    bench.until("verifying", "Verifying")
    bench.apply("queued", modelRef="hf:acme/suspended", reclaimPolicy="Delete", priority=-1)
    for name, reason in STATES.items():
        bench.until(name, reason)
    return program


def assert_nothing_is_left(bench: Stand) -> None:
    assert bench.published() == ["hf/acme/tiny/tiny.Q8_0.gguf", "local/long.gguf"]
    provisioner = bench.volume / ".provisioner"
    assert not list((provisioner / "parts").iterdir())
    assert not list((provisioner / "holders").iterdir())
    assert bench.catalog() == {}


@pytest.mark.usefixtures("operator")
def test_objects_in_all_states_go_at_once(bench: Stand) -> None:
    since = time.monotonic()
    for name in STATES:
        bench.delete(name)
    for name in STATES:
        bench.until_gone(name, SOON_SECONDS - (time.monotonic() - since))
    assert_nothing_is_left(bench)


def test_what_was_deleted_while_no_operator_ran_goes_when_one_does(bench: Stand, operator: Program) -> None:
    operator.kill()
    for name in STATES:
        bench.delete(name)
    assert all(bench.exists(name) for name in STATES)
    bench.start_operator(f"--lease-namespace={bench.namespace}-home")
    since = time.monotonic()
    for name in STATES:
        bench.until_gone(name, START_SECONDS + SOON_SECONDS - (time.monotonic() - since))
    assert_nothing_is_left(bench)


@pytest.mark.usefixtures("operator")
def test_a_namespace_that_goes_away_takes_objects_in_all_states_along(bench: Stand) -> None:
    bench.cluster.finish_namespace(bench.namespace, timeout=SOON_SECONDS)
    eventually(lambda: not any("l.Q4" in path for path in bench.published()), "nothing is published afterwards")
    assert bench.published() == ["hf/acme/tiny/tiny.Q8_0.gguf", "local/long.gguf"]


def test_a_namespace_that_goes_away_disturbs_no_other_and_may_come_back(bench: Stand, tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "l.gguf", size=SIZE)
    home = f"{bench.namespace}-home"
    bench.cluster.create_namespace(home)
    for name in ("going", "paused", "running"):
        bench.hub.repository(f"acme/{name}").add("l.Q4_K_M.gguf", model)
    gate = bench.hub.pause_at(SIZE // 2, "l.Q4_K_M.gguf")
    with bench.neighbour(f"{bench.namespace}-b") as other:
        operator = bench.start_operator(other.store, f"--lease-namespace={home}", "--slots=2")
        other.apply("going", modelRef="hf:acme/going")
        other.until("going", "Downloading")
        bench.apply("ready", modelRef="hf:acme/tiny", reclaimPolicy="Delete")
        bench.apply("paused", modelRef="hf:acme/paused", reclaimPolicy="Delete", suspend=True)
        bench.until("ready", "Available")
        bench.apply("running", modelRef="hf:acme/running", reclaimPolicy="Delete")
        bench.until("running", "Downloading")
        bench.apply("waiting", modelRef="hf:acme/tiny:Q8_0", reclaimPolicy="Delete")
        bench.apply("stalled", modelRef="hf:acme/none", reclaimPolicy="Delete")
        for name, reason in (("paused", "Suspended"), ("waiting", "Queued"), ("stalled", "SourceNotFound")):
            bench.until(name, reason)
        eventually(lambda: bench.hub.connections == 2, "both are connected")
        with ThreadPoolExecutor() as pool:
            finished = pool.submit(bench.cluster.finish_namespace, bench.namespace, timeout=SOON_SECONDS)
            eventually(lambda: is_on_its_way_out(bench, "running"), "the objects are deleted", SOON_SECONDS)
            eventually(lambda: bench.hub.connections == 1, "only the other one is connected", SOON_SECONDS)
            finished.result()
        assert bench.left_behind() == []
        assert other.ready("going")["reason"] == "Downloading"
        gate.release()
        assert other.until("going", "Available")["status"]["attempts"] == 1
        assert bench.hub.bytes_sent("acme/going") == model.stat().st_size
        bench.cluster.create_namespace(bench.namespace)
        bench.apply("ready", modelRef="hf:acme/tiny")
        bench.until("ready", "Available")
    assert bench.cluster.api.get(f"/apis/coordination.k8s.io/v1/namespaces/{home}/leases/model-provisioner")
    assert operator.process.poll() is None


def is_on_its_way_out(bench: Stand, name: str) -> bool:
    with contextlib.suppress(ApiError):
        return "deletionTimestamp" in bench.get(name)["metadata"]
    return True


def test_what_waits_for_its_source_or_for_room_goes_at_once_and_so_do_connections(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with small_volume(tmp_path / "volume", 40 * MIB), stand(cluster, namespace, tmp_path) as bench:
        for name in ("fetched", "waiting", "unavailable"):
            bench.hub.repository(f"acme/{name}").add("l.Q4_K_M.gguf", write_gguf(tmp_path / "l.gguf", size=SIZE))
        bench.hub.fail(503, times=None, where="api", path="acme/unavailable")
        gate = bench.hub.pause_at(SIZE // 2)
        bench.start_operator()
        bench.apply("fetched", modelRef="hf:acme/fetched")
        gate.wait_reached()
        for name in ("waiting", "unavailable"):
            bench.apply(name, modelRef=f"hf:acme/{name}")
        eventually(lambda: "waiting for room" in bench.ready("waiting").get("message", ""), "it waits for room")
        bench.until("unavailable", "SourceUnavailable")
        assert bench.hub.connections == 1
        for name in ("fetched", "waiting", "unavailable"):
            bench.delete(name)
        eventually(lambda: bench.hub.connections == 0, "every connection is closed", SOON_SECONDS)
        for name in ("fetched", "waiting", "unavailable"):
            bench.until_gone(name, SOON_SECONDS)
        assert bench.left_behind() == []


def test_what_is_read_again_and_what_waits_for_that_go_at_once_and_so_do_others(bench: Stand, tmp_path: Path) -> None:
    """Reading every byte of `acme/large` takes half a minute."""
    bench.hub.repository("acme/large").add("l.Q4_K_M.gguf", write_sparse(tmp_path / "l.gguf", 64 * MIB))
    operator = bench.start_operator(module="tests.support.slow_disk")
    bench.apply("read", modelRef="hf:acme/large", reclaimPolicy="Delete")
    bench.apply("waiting", modelRef="hf:acme/tiny:Q8_0")
    bench.apply("other", modelRef="hf:acme/tiny:Q4_K_M", reclaimPolicy="Delete")
    for name in ("read", "waiting", "other"):
        bench.until(name, "Available")
    bench.patch("read", annotations={"models.rbee.dev/verifyAt": "now"})
    eventually(lambda: "reading it again" in bench.ready("read")["message"], "it is read")
    bench.patch("waiting", annotations={"models.rbee.dev/verifyAt": "now", "models.rbee.dev/reconcileAt": "now"})
    eventually(lambda: "lastHandledReconcileAt" in bench.get("waiting")["status"], "its turn has begun")
    assert "lastHandledVerifyAt" not in bench.get("waiting")["status"], "it waits until the other one was read"
    for name in ("other", "waiting"):
        bench.delete(name)
    for name in ("other", "waiting"):
        bench.until_gone(name, SOON_SECONDS)
    assert "reading it again" in bench.ready("read")["message"]
    bench.delete("read")
    bench.until_gone("read", SOON_SECONDS)
    assert bench.published() == ["hf/acme/tiny/tiny.Q8_0.gguf"]
    assert not list((bench.volume / ".provisioner" / "holders").iterdir())

    def is_read() -> bool:
        return any("l.Q4_K_M.gguf" in file for pid in operator.children() for file in open_files(pid))

    eventually(lambda: not is_read(), "no worker reads on", 15)  # reading all would take twice as long


def test_the_policy_at_the_time_of_the_deletion_counts(bench: Stand) -> None:
    bench.start_operator()
    bench.apply("regretted", modelRef="hf:acme/tiny:Q4_K_M", reclaimPolicy="Delete")
    bench.apply("unwanted", modelRef="hf:acme/tiny:Q8_0")
    for name, policy in (("regretted", "Retain"), ("unwanted", "Delete")):
        bench.until(name, "Available")
        bench.patch(name, {"reclaimPolicy": policy})
        bench.delete(name)
        bench.until_gone(name)
    assert bench.published() == ["hf/acme/tiny/tiny.Q4_K_M.gguf"]


def test_an_object_whose_volume_is_away_goes_all_the_same_and_its_files_are_not_lost(bench: Stand) -> None:
    operator = bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny:Q4_K_M", reclaimPolicy="Delete")
    bench.until("tiny", "Available")
    operator.kill()
    away = bench.volume.with_name("away")
    bench.volume.rename(away)
    bench.volume.mkdir()
    operator = bench.start_operator(module="tests.support.hasty")
    bench.until("tiny", "VolumeChanged")
    bench.delete("tiny")
    bench.until_gone("tiny")
    assert ("Warning", "CleanupPostponed") in bench.events("tiny")
    assert list(bench.volume.iterdir()) == []

    operator.kill()
    bench.volume.rmdir()
    away.rename(bench.volume)
    bench.start_operator()
    holders = bench.volume / ".provisioner" / "holders"
    eventually(lambda: not list(holders.iterdir()), "its record is swept")
    assert bench.published() == ["hf/acme/tiny/tiny.Q4_K_M.gguf"], "the sweep removes no published file"


def test_one_that_is_changed_and_deleted_at_once_goes_and_begins_nothing_anew(bench: Stand) -> None:
    """The change cancels the attempt; the deletion comes before the cancellation is done."""
    bench.hub.repository("acme/tiny").add("tiny.Q4_K_M.gguf", tiny_gguf(size=4 * MIB))
    gate = bench.hub.pause_at(MIB)
    operator = bench.start_operator("--slots=1")
    bench.apply("tiny", modelRef="hf:acme/tiny", reclaimPolicy="Delete")
    gate.wait_reached()
    with stopped(fetcher(operator)):
        bench.patch("tiny", annotations={"models.rbee.dev/reconcileAt": "now"})
        time.sleep(0.3)  # the lifecycle waits for its worker to stop
        bench.delete("tiny")
        time.sleep(0.3)
    bench.until_gone("tiny")
    gate.release()
    assert bench.published() == []
    assert list((bench.volume / ".provisioner" / "parts").iterdir()) == []


def test_a_volume_that_hangs_holds_no_deletion_up(bench: Stand) -> None:
    operator = bench.start_operator(module="tests.support.hasty")
    bench.apply("tiny", modelRef="hf:acme/tiny:Q4_K_M", reclaimPolicy="Delete")
    bench.until("tiny", "Available")

    def is_gone() -> bool:
        for pid in operator.children():  # also those that take the place of the ones that hang
            with contextlib.suppress(ProcessLookupError):  # it has idled and ends
                os.kill(pid, signal.SIGSTOP)
        return not bench.exists("tiny")

    assert not is_gone()
    bench.delete("tiny")
    eventually(is_gone, "it is gone")
    assert ("Warning", "CleanupPostponed") in bench.events("tiny")


def test_the_documented_escape_lets_an_object_go_without_an_operator(bench: Stand) -> None:
    operator = bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny:Q4_K_M", reclaimPolicy="Delete")
    bench.until("tiny", "Available")
    operator.kill()
    bench.delete("tiny")
    assert bench.exists("tiny")
    bench.patch("tiny", finalizers=None)
    bench.until_gone("tiny")
    bench.start_operator()
    holders = bench.volume / ".provisioner" / "holders"
    eventually(lambda: not list(holders.iterdir()), "what it held is swept")
    assert bench.catalog() == {}
    assert bench.published() == ["hf/acme/tiny/tiny.Q4_K_M.gguf"], "the policy went with it: `prune` lists the file"


def our_watch(asked: Asked) -> bool:
    return asked.is_watch and not asked.is_kopfs


def test_an_object_that_is_gone_when_its_files_come_does_not_stay_in_the_catalog(bench: Stand, tmp_path: Path) -> None:
    """The catalog sees the deletion, then the entry is made, and then the status cannot be written."""
    heard: list[bytes] = []

    async def note(_held: list[bytes], line: bytes) -> list[bytes]:
        heard.append(line)
        return [line]

    gate = bench.hub.pause_at(len(tiny_gguf()) // 2)
    with ApiProxy(bench.cluster) as proxy:
        bench.start_operator(f"--kubeconfig={proxy.kubeconfig(tmp_path / 'config')}")
        bench.apply("tiny", modelRef="hf:acme/tiny")
        gate.wait_reached()
        with proxy.distorting(note, our_watch), proxy.hanging(kopfs_watch), proxy.hanging(status_patches):
            bench.patch("tiny", finalizers=None)
            bench.delete("tiny")
            assert not bench.exists("tiny")
            eventually(lambda: any(b'"DELETED"' in line for line in heard), "the operator hears of it")
            gate.release()
            eventually(bench.catalog, "it is entered all the same")
        eventually(lambda: not bench.catalog(), "the catalog has it no more")
        bench.stop()
