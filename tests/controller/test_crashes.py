"""Crashes of a worker and of the operator, and a volume that was changed while no operator ran."""

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploy.local.api import ApiError
from deploy.local.cluster import Cluster
from model_provisioner.domain import liveness
from model_provisioner.transfer.store.partfile import keys, read_journal
from model_provisioner.transfer.store.posix import opened_root
from tests.support.api_proxy import ApiProxy
from tests.support.conditions import condition
from tests.support.ggufs import tiny_gguf, write_gguf
from tests.support.programs import eventually, fetcher, holds_a_part, open_files, stopped
from tests.support.stand import Stand

MIB = 1024**2
SIZE = 512 * MIB
BOUND = 64 * MIB


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").exists() and bool(Path(f"/proc/{pid}/cmdline").read_bytes())


@pytest.mark.parametrize("victim", ["worker", "operator"])
def test_kill_9_at_half_of_512_mib_costs_at_most_64_mib(bench: Stand, tmp_path: Path, victim: str) -> None:
    model = write_gguf(tmp_path / "large.gguf", size=SIZE)
    total = model.stat().st_size
    bench.hub.repository("acme/large").add("large.Q4_K_M.gguf", model)
    gate = bench.hub.pause_at(SIZE // 2)
    operator = bench.start_operator()
    bench.apply("large", modelRef="hf:acme/large")
    gate.wait_reached()
    eventually(
        lambda: bench.get("large").get("status", {}).get("progress", {}).get("bytes", 0) > SIZE // 4,
        "progress is in the status",
    )
    worker = fetcher(operator)
    if victim == "worker":
        os.kill(worker, signal.SIGKILL)
        gate.release()
    else:
        operator.kill()
        eventually(lambda: not alive(worker), "the worker has died with its operator")
        gate.release()
        bench.start_operator()

    status = bench.until("large", "Available", 120)["status"]
    assert (bench.volume / status["model"]["path"]).read_bytes() == model.read_bytes()
    assert status["attempts"] == 1
    twice = bench.hub.bytes_sent("large.Q4_K_M.gguf") - total
    print(f"kill -9 of the {victim}: {twice / MIB:.1f} MiB of {total / MIB:.0f} MiB went over twice")  # noqa: T201
    assert twice <= BOUND


def test_a_worker_that_hangs_is_replaced(bench: Stand, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "h.gguf", size=SIZE // 16)
    bench.hub.repository("acme/hung").add("h.Q4_K_M.gguf", file)
    gate = bench.hub.pause_at(SIZE // 32)
    operator = bench.start_operator("--slots=1", module="tests.support.hasty")
    bench.apply("hung", modelRef="hf:acme/hung")
    gate.wait_reached()
    pid = fetcher(operator)
    with stopped(pid):
        gate.release()
        bench.until("hung", "Available")
        assert pid not in operator.children()
    assert f"worker {pid} is replaced: fetch was silent for 3s" in operator.output()


def test_a_restart_fetches_nothing_anew_that_was_found_wrong(bench: Stand) -> None:
    bench.hub.corrupt("tiny.Q4_K_M.gguf", 50_000)
    operator = bench.start_operator()
    bench.apply("wrong", modelRef="hf:acme/tiny")
    before = bench.until("wrong", "DigestMismatch")["status"]
    sent = bench.hub.bytes_sent("tiny.Q4_K_M.gguf")
    operator.kill()
    bench.start_operator()
    bench.apply("right", modelRef="hf:acme/tiny:Q8_0")
    bench.until("right", "Available")
    assert bench.get("wrong")["status"] == before
    assert bench.hub.bytes_sent("tiny.Q4_K_M.gguf") == sent
    bench.hub.clear_faults()
    bench.patch("wrong", annotations={"models.rbee.dev/reconcileAt": "now"})
    status = bench.until("wrong", "Available")["status"]
    assert status["attempts"] > before["attempts"]


def test_a_restart_leaves_what_is_ready_alone(bench: Stand) -> None:
    operator = bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny")
    before = bench.until("tiny", "Available")["metadata"]["resourceVersion"]
    assert operator.stop() == 0
    bench.hub.clear_log()
    bench.start_operator()
    bench.apply("other", modelRef="hf:acme/tiny:Q8_0")
    bench.until("other", "Available")
    assert bench.get("tiny")["metadata"]["resourceVersion"] == before
    assert not any("Q4_K_M" in request.path for request in bench.hub.log)


def test_a_restart_while_the_hub_is_down_leaves_what_is_ready_alone_and_answers_what_is_asked_of_it(
    bench: Stand,
) -> None:
    operator = bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny")
    before = bench.until("tiny", "Available")
    assert operator.stop() == 0
    bench.hub.down()
    bench.start_operator()
    bench.apply("other", modelRef="hf:acme/tiny:Q8_0")
    bench.until("other", "SourceUnavailable")
    assert bench.get("tiny") == before
    for annotation, answer in (("reconcileAt", "lastHandledReconcileAt"), ("verifyAt", "lastHandledVerifyAt")):
        bench.patch("tiny", annotations={f"models.rbee.dev/{annotation}": "now"})
        eventually(partial(is_answered, bench, "tiny", answer), f"{annotation} is answered")
    ready = [one["status"] for version in bench.history.of("tiny") if (one := condition(version, "Ready"))]
    assert "False" not in ready[ready.index("True") :]
    answers = {"lastHandledReconcileAt": "now", "lastHandledVerifyAt": "now"}
    assert bench.get("tiny")["status"] == before["status"] | answers
    assert "tiny.path" in bench.catalog()


def is_answered(bench: Stand, name: str, answer: str) -> bool:
    return bool(bench.get(name)["status"].get(answer) == "now")


def test_a_file_that_is_gone_is_fetched_again_at_the_recorded_revision(bench: Stand) -> None:
    repository = bench.hub.repository("acme/moving")
    repository.add("tiny.Q4_K_M.gguf", tiny_gguf())
    operator = bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/moving:Q4_K_M")
    first = bench.until("tiny", "Available")["status"]
    assert operator.stop() == 0
    (bench.volume / first["model"]["path"]).unlink()
    repository.add("tiny.Q4_K_M.gguf", tiny_gguf(seed=9))
    bench.start_operator()

    def fetched_again() -> bool:
        return bench.published() == [first["model"]["path"]] and bench.ready("tiny")["status"] == "True"

    eventually(fetched_again, "the file is back")
    status = eventually(lambda: (found := bench.get("tiny")["status"])["attempts"] == 2 and found, "attempt 2 is told")
    assert status["model"]["revision"] == first["model"]["revision"]
    assert (bench.volume / first["model"]["path"]).read_bytes() == tiny_gguf()


def test_only_the_holder_of_the_lease_acts(bench: Stand) -> None:
    first = bench.start_operator(environment={"POD_NAME": "first"})
    bench.apply("one", modelRef="hf:acme/tiny")
    bench.until("one", "Available")
    second = bench.start_operator(environment={"POD_NAME": "second"})
    eventually(lambda: "first holds the Lease" in second.output(), "the second one waits")
    assert lease(bench)["holderIdentity"] == "first"
    epoch = lease(bench)["leaseTransitions"]
    assert first.stop() == 0
    bench.apply("two", modelRef="hf:acme/tiny:Q8_0")
    bench.until("two", "Available")
    assert lease(bench)["holderIdentity"] == "second"
    assert lease(bench)["leaseTransitions"] == epoch + 1


def test_the_next_operator_goes_on_at_once_with_what_the_former_was_told_to_leave(bench: Stand, tmp_path: Path) -> None:
    """As in a rolling update: the next operator already waits for the Lease."""
    model = write_gguf(tmp_path / "l.gguf", size=128 * MIB)
    bench.hub.repository("acme/large").add("l.Q4_K_M.gguf", model)
    gate = bench.hub.pause_at(96 * MIB)
    first = bench.start_operator(environment={"POD_NAME": "first"})
    bench.apply("large", modelRef="hf:acme/large", connections=1)
    gate.wait_reached()
    second = bench.start_operator(environment={"POD_NAME": "second"})
    eventually(lambda: "first holds the Lease" in second.output(), "the second one waits")
    asked = len(bench.hub.log)
    assert first.stop() == 0
    within = liveness.ALONE.duration / 2
    eventually(lambda: lease(bench)["holderIdentity"] == "second", "it does not wait for the Lease to expire", within)
    eventually(lambda: any(one.origin == "content" for one in bench.hub.log[asked:]), "it goes on")
    gate.release()
    status = bench.until("large", "Available")["status"]
    assert status["attempts"] == 1
    assert bench.hub.connections_high_water == 1, "never two fetch"
    assert bench.hub.bytes_sent("acme/large") <= model.stat().st_size + BOUND
    assert (bench.volume / status["model"]["path"]).read_bytes() == model.read_bytes()
    assert (lease(bench)["holderIdentity"], lease(bench)["leaseTransitions"]) == ("second", 2)


def test_an_operator_that_has_lost_the_lease_ends_at_once(bench: Stand) -> None:
    operator = bench.start_operator(environment={"POD_NAME": "first"})
    eventually(lambda: lease(bench).get("holderIdentity") == "first", "the Lease is taken")
    workers = eventually(operator.children, "workers run")
    path = f"/apis/coordination.k8s.io/v1/namespaces/{bench.namespace}/leases/model-provisioner"
    bench.cluster.api.merge(path, {"spec": {"holderIdentity": "somebody else"}})
    assert operator.process.wait(30) == 3  # long before the Lease would expire
    eventually(lambda: not any(alive(worker) for worker in workers), "its workers are gone")


def test_an_operator_that_stood_still_finds_another_in_its_place_and_ends(
    bench: Stand, cluster: Cluster, tmp_path: Path
) -> None:
    """Only the operator is stopped: its workers run on, and one of its writes is in flight.

    One test for both, because a Lease must expire.
    """
    model = write_gguf(tmp_path / "m.gguf", size=64 * MIB)
    for name in ("taken", "published"):
        bench.hub.repository(f"acme/{name}").add("m.Q4_K_M.gguf", model)
    former = [bench.hub.pause_at(32 * MIB, f"acme/{name}", times=1) for name in ("taken", "published")]
    gate = bench.hub.pause_at(48 * MIB, "acme/taken")
    with ApiProxy(cluster) as proxy:
        config = proxy.kubeconfig(tmp_path / "config")
        flags, hasty = ["--slots=2", f"--kubeconfig={config}"], "tests.support.hasty"
        first = bench.start_operator(*flags, environment={"POD_NAME": "first"}, module=hasty)
        for name in ("taken", "published"):
            bench.apply(name, modelRef=f"hf:acme/{name}")
        for one in former:
            one.wait_reached()
        workers = [pid for pid in first.children() if holds_a_part(pid)]
        with proxy.hanging(lambda asked: asked.path.endswith("/late/status")) as write:
            bench.apply("late", modelRef="hf:acme/tiny")
            eventually(lambda: write.hits, "its status is on the way")
            first.process.send_signal(signal.SIGSTOP)
            bench.start_operator("--slots=2", environment={"POD_NAME": "second"}, module=hasty)
            path = bench.volume / bench.until("published", "Available")["status"]["model"]["path"]
            published = path.stat().st_mtime_ns
            gate.wait_reached()
            assert set(epochs(bench.volume)) == {lease(bench)["leaseTransitions"]}, (
                "each part has one writer, the new one"
            )
            for one in former:
                one.release()
            eventually(lambda: not any(has_a_model_open(pid) for pid in workers), "the former workers let go")
            gate.release()
            for name in ("taken", "late"):
                bench.until(name, "Available")
        eventually(lambda: bench.history.reasons("late").count("Available") == 2, "the late write is put right")
        status = {name: bench.get(name)["status"] for name in ("taken", "published", "late")}
        first.process.send_signal(signal.SIGCONT)
        assert first.process.wait(60) != 0
        time.sleep(1)
        assert {name: bench.get(name)["status"] for name in status} == status, "it has written nothing more"
    assert [one["attempts"] for one in status.values()] == [1, 1, 1]
    assert path.stat().st_mtime_ns == published, "the published file was not written to"
    for name in ("taken", "published"):
        assert (bench.volume / status[name]["model"]["path"]).read_bytes() == model.read_bytes()
        # At most 16 MiB that no journal had, and the bytes in flight, are sent twice; from zero it would be 32 MiB.
        assert bench.hub.bytes_sent(f"acme/{name}") <= model.stat().st_size + 28 * MIB
    assert epochs(bench.volume) == []


def epochs(volume: Path) -> list[int]:
    """The epochs in the journals of all parts."""
    with opened_root(volume / ".provisioner" / "parts") as parts:
        journals = [read_journal(parts, key) for key in keys(parts)]
    return [journal.epoch for journal in journals if journal]


def has_a_model_open(pid: int) -> bool:
    return any(file.endswith((".part", ".gguf")) for file in open_files(pid))


def lease(bench: Stand) -> dict[str, Any]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{bench.namespace}/leases/model-provisioner"
    try:
        spec: dict[str, Any] = bench.cluster.api.get(path)["spec"]
    except ApiError:
        return {}
    return spec
