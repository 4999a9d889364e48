"""What a download waits for: a slot after a restart, space on the volume, the Retry-After of a host."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from tests.support.gguf_headers import write_sparse
from tests.support.ggufs import tiny_gguf, write_gguf
from tests.support.hub.faults import Where
from tests.support.programs import eventually
from tests.support.stand import Stand, stand
from tests.support.volumes import small_volume

MIB = 1024**2
SIZE = 24 * MIB


def test_after_a_restart_the_most_urgent_is_first_in_the_queue(bench: Stand, tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "m.gguf", size=SIZE)
    for name in ("first", "plain", "urgent"):
        bench.hub.repository(f"acme/{name}").add("m.Q4_K_M.gguf", model)
    gate = bench.hub.pause_at(SIZE // 2)
    operator = bench.start_operator("--slots=1")
    bench.apply("first", modelRef="hf:acme/first")
    bench.until("first", "Downloading")
    gate.wait_reached()
    bench.apply("plain", modelRef="hf:acme/plain")
    bench.apply("urgent", modelRef="hf:acme/urgent")
    for name in ("plain", "urgent"):
        bench.until(name, "Queued")
    bench.patch("urgent", {"priority": 5})
    operator.kill()
    bench.hub.clear_log()
    bench.start_operator("--slots=1")
    bench.until("urgent", "Downloading")
    for name in ("first", "plain"):
        bench.until(name, "Queued")
    gate.release()
    for name in ("urgent", "first", "plain"):
        bench.until(name, "Available")
    assert requested_repositories(bench) == ["urgent", "first", "plain"]


def test_the_older_one_goes_first_although_the_younger_has_waited_longer(bench: Stand) -> None:
    gate = bench.hub.pause_at(50_000, in_repository(bench, "running"))
    bench.start_operator("--slots=1")
    bench.apply("running", modelRef="hf:acme/running")
    gate.wait_reached()
    for name in ("older", "younger"):
        in_repository(bench, name)
    created = bench.apply("older", modelRef="hf:acme/older", suspend=True)["metadata"]["creationTimestamp"]
    bench.until("older", "Suspended")
    eventually(lambda: f"{datetime.now(UTC):%FT%TZ}" > created, "a second has passed")
    bench.apply("younger", modelRef="hf:acme/younger")
    bench.until("younger", "Queued")
    bench.patch("older", {"suspend": False})
    bench.until("older", "Queued")
    gate.release()
    for name in ("running", "older", "younger"):
        bench.until(name, "Available")
    assert requested_repositories(bench) == ["running", "older", "younger"]


def test_the_many_of_one_namespace_do_not_keep_the_one_of_another_waiting(bench: Stand) -> None:
    with bench.neighbour(f"{bench.namespace}-b") as other:
        gate = bench.hub.pause_at(50_000, in_repository(bench, "running"))
        bench.start_operator(other.store, "--slots=1")
        bench.apply("running", modelRef="hf:acme/running")
        gate.wait_reached()
        for name in ("first", "second", "third"):
            in_repository(bench, name)
            bench.apply(name, modelRef=f"hf:acme/{name}")
            bench.until(name, "Queued")
        in_repository(bench, "young")
        other.apply("young", modelRef="hf:acme/young")
        other.until("young", "Queued")
        gate.release()
        other.until("young", "Available")
        for name in ("running", "first", "second", "third"):
            bench.until(name, "Available")
    assert requested_repositories(bench)[:2] == ["running", "young"]
    assert bench.hub.connections_high_water == 1, "one slot, one small model at one time"


def test_slow_downloads_of_one_namespace_take_no_slot(bench: Stand, tmp_path: Path) -> None:
    model = write_sparse(tmp_path / "m.gguf", 64 * MIB)  # 17 minutes at 64 KiB/s
    with bench.neighbour(f"{bench.namespace}-b") as other:
        bench.start_operator(other.store, "--slots=2")
        for name in ("a", "b", "c", "d"):
            bench.hub.repository(f"acme/{name}").add("m.Q4_K_M.gguf", model)
            bench.apply(name, modelRef=f"hf:acme/{name}", maxBytesPerSecond="64Ki", priority=10**9)
            bench.until(name, "Downloading")
        for site in (other, bench):
            site.apply("quick", modelRef="hf:acme/tiny")
            site.until("quick", "Available")
        bench.patch("a", {"maxBytesPerSecond": None})
        bench.until("a", "Available")
        assert bench.get("a")["status"]["attempts"] == 1


def test_a_namespace_that_fills_every_slot_gives_one_to_another_namespace(bench: Stand, tmp_path: Path) -> None:
    model = write_gguf(tmp_path / "m.gguf", size=SIZE)
    names = ("a", "b", "c")
    for name in names:
        bench.hub.repository(f"acme/{name}").add("m.Q4_K_M.gguf", model)
    gates = [bench.hub.pause_at(SIZE // 2, f"acme/{name}") for name in names]
    with bench.neighbour(f"{bench.namespace}-b") as other:
        bench.start_operator(other.store, "--slots=2")
        for name, state in zip(names, ("Downloading", "Downloading", "Queued"), strict=True):
            bench.apply(name, modelRef=f"hf:acme/{name}", priority=10**9)
            bench.until(name, state)
        other.apply("quick", modelRef="hf:acme/tiny")
        other.until("quick", "Available")
        for gate in gates:
            gate.release()
        for name in names:
            bench.until(name, "Available")
            assert bench.get(name)["status"]["attempts"] == 1
    sent = sum(bench.hub.bytes_sent(f"acme/{name}") for name in names)
    assert sent < 3.8 * model.stat().st_size, "what was there before a stop is not all fetched again"


TERABYTES = 12 * 1024**4


def test_huge_local_files_take_no_slot_and_files_of_holes_are_refused_at_once(bench: Stand) -> None:
    with bench.neighbour(f"{bench.namespace}-b") as other:
        for site in (bench, other):
            (site.volume / "local").mkdir()
        (other.volume / "local" / "own.gguf").write_bytes(tiny_gguf(seed=3))
        bench.start_operator(other.store, "--slots=2")
        for name, state in (("a", "Verifying"), ("b", "Verifying"), ("c", "Queued"), ("d", "Queued")):
            write_sparse(bench.volume / "local" / f"{name}.gguf", TERABYTES)
            bench.apply(name, modelRef=f"local:{name}.gguf", priority=10**9)
            bench.until(name, state)
        for site in (other, bench):
            site.apply("quick", modelRef="hf:acme/tiny")
            site.until("quick", "Available")
        other.apply("own", modelRef="local:own.gguf")
        other.until("own", "Available")
        holes = other.volume / "local" / "holes.gguf"
        with holes.open("wb") as file:
            file.truncate(TERABYTES)
        appended = other.volume / "local" / "appended.gguf"
        appended.write_bytes(tiny_gguf())
        with appended.open("r+b") as file:
            file.truncate(TERABYTES)
        for name in ("holes", "appended"):
            other.apply(name, modelRef=f"local:{name}.gguf")
            other.until(name, "NotGGUF")


def in_repository(bench: Stand, name: str) -> str:
    """A small model in a repository of its own; returns the repository."""
    bench.hub.repository(f"acme/{name}").add("m.Q4_K_M.gguf", tiny_gguf())
    return f"acme/{name}"


def requested_repositories(bench: Stand) -> list[str]:
    """The repositories of the content requests, in their order."""
    return list(dict.fromkeys(one.path.split("/")[2] for one in bench.hub.log if one.origin == "content"))


def test_downloads_that_fit_alone_but_not_together_wait_for_one_another(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with small_volume(tmp_path / "volume", 40 * MIB), stand(cluster, namespace, tmp_path) as bench:
        model = write_gguf(tmp_path / "m.gguf", size=SIZE)
        for name in ("one", "two"):
            bench.hub.repository(f"acme/{name}").add("m.Q4_K_M.gguf", model)
        gate = bench.hub.pause_at(SIZE // 2)
        bench.start_operator()
        bench.apply("one", modelRef="hf:acme/one", reclaimPolicy="Delete")
        gate.wait_reached()
        bench.apply("two", modelRef="hf:acme/two")
        eventually(lambda: "waiting for room" in bench.ready("two").get("message", ""), "two waits for one")
        assert bench.ready("two")["reason"] == "Queued"
        assert not any("two" in request.path for request in bench.hub.log if request.origin == "content")
        gate.release()
        bench.until("one", "Available")
        assert "24 MiB" in bench.until("two", "InsufficientStorage")["status"]["conditions"][0]["message"]
        bench.delete("one")
        bench.until("two", "Available")


@pytest.mark.parametrize("where", ["api", "content"])
def test_no_object_sends_a_request_to_a_host_before_the_end_of_retry_after(bench: Stand, where: Where) -> None:
    bench.hub.fail(429, where=where, headers={"Retry-After": "12"})
    bench.start_operator("--slots=2")
    bench.apply("one", modelRef="hf:acme/tiny:Q4_K_M")
    bench.until("one", "RateLimited")
    bench.apply("two", modelRef="hf:acme/tiny:Q8_0")
    message = bench.until("two", "RateLimited")["status"]["conditions"][0]["message"]
    assert "asked us to slow down" in message
    assert bench.get("two")["status"]["nextRetryTime"]
    for name in ("one", "two"):
        bench.until(name, "Available")
    (refused,) = (one.time for one in bench.hub.log if one.status == 429)
    too_early = [one.path for one in bench.hub.log if refused < one.time < refused + 12]
    assert too_early == [], "neither the hub nor its content host gets a request before the end of Retry-After"


def test_a_token_that_is_told_to_wait_an_hour_delays_no_other_credential(bench: Stand) -> None:
    with bench.neighbour(f"{bench.namespace}-b") as other:
        bench.hub.tokens.update({"hf_limited", "hf_fresh"})
        bench.secret("limited", {"token": "hf_limited"})
        other.secret("fresh", {"token": "hf_fresh"})
        bench.start_operator(other.store)
        bench.hub.fail(429, where="api", headers={"Retry-After": "3600"})
        bench.apply("limited", modelRef="hf:acme/tiny:Q4_K_M", credentialsSecretRef={"name": "limited"})
        bench.until("limited", "RateLimited")
        asked = len(bench.hub.log)
        bench.apply("same-token", modelRef="hf:acme/tiny:Q8_0", credentialsSecretRef={"name": "limited"})
        message = bench.until("same-token", "RateLimited")["status"]["conditions"][0]["message"]
        assert "with this token" in message
        assert "hf_limited" not in message
        assert len(bench.hub.log) == asked
        other.apply("fresh", modelRef="hf:acme/tiny:Q4_K_M", credentialsSecretRef={"name": "fresh"})
        other.apply("without", modelRef="hf:acme/tiny:Q8_0")
        for name in ("fresh", "without"):
            other.until(name, "Available")


def test_requests_without_a_token_are_held_back_for_a_minute_at_most(bench: Stand) -> None:
    bench.hub.fail(429, where="api", headers={"Retry-After": "3600"})
    bench.start_operator()
    bench.apply("one", modelRef="hf:acme/tiny:Q4_K_M")
    bench.until("one", "RateLimited")
    bench.apply("two", modelRef="hf:acme/tiny:Q8_0")
    two = bench.until("two", "RateLimited")
    assert "without a token" in two["status"]["conditions"][0]["message"]
    began = datetime.fromisoformat(two["metadata"]["creationTimestamp"])
    assert (datetime.fromisoformat(two["status"]["nextRetryTime"]) - began).total_seconds() < 70


def test_all_downloads_together_keep_the_operators_limit(bench: Stand, tmp_path: Path) -> None:
    model = write_sparse(tmp_path / "m.gguf", 128 * MIB)
    for name in ("one", "two"):
        bench.hub.repository(f"acme/{name}").add("m.Q4_K_M.gguf", model)
    limit = 4 * MIB
    bench.start_operator(f"--max-bytes-per-second={limit}")
    for name in ("one", "two"):
        bench.apply(name, modelRef=f"hf:acme/{name}", connections=1)
    for name in ("one", "two"):
        # Each requests 8 MiB for the header, then 60 MiB, of which socket buffers take some MiB at once.
        until_here(bench, name, 9 * MIB)

    def share_it() -> bool:
        one, two = rates(bench, "one", "two")
        return one + two < 1.5 * limit and 0.5 < one / two < 2

    eventually(share_it, "both together have the limit, each its share, unless the machine stood still")
    bench.patch("one", {"suspend": True})
    bench.until("one", "Suspended")

    def has_it_alone() -> bool:
        (two,) = rates(bench, "two")
        return 0.75 * limit < two < 1.5 * limit

    eventually(has_it_alone, "the other one has the share of the first, too")


def until_here(bench: Stand, name: str, size: int) -> None:
    def is_here() -> bool:
        return bool(bench.get(name).get("status", {}).get("progress", {}).get("bytes", 0) >= size)

    eventually(is_here, f"{size} bytes of {name} are here")


def rates(bench: Stand, *names: str) -> list[float]:
    """The bytes per second that the hub sends of each repository, measured over four seconds."""
    began, before = time.monotonic(), [bench.hub.bytes_sent(f"acme/{name}") for name in names]
    time.sleep(4)
    after = [bench.hub.bytes_sent(f"acme/{name}") for name in names]
    seconds = time.monotonic() - began
    return [(then - first) / seconds for first, then in zip(before, after, strict=True)]


def test_the_message_says_that_a_silent_source_is_waited_for(bench: Stand) -> None:
    gate = bench.hub.pause_at(0, "acme/tiny")
    bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny:Q4_K_M")
    gate.wait_reached()
    says = re.compile(rf"(waiting for the first byte|no byte) from {re.escape(bench.hub.content_origin)} for \d+s")
    eventually(lambda: says.search(bench.ready("tiny").get("message", "")), "the message names the source")
    assert bench.ready("tiny")["reason"] == "Downloading"
    gate.release()
    message = bench.until("tiny", "Available")["status"]["conditions"][0]["message"]
    assert not says.search(message)
