"""Changes during the life of an object (its spec, its Secret, its files), and what the operator does then."""

import hashlib
import re
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import Cluster
from tests.support.api_proxy import ApiProxy, status_patches
from tests.support.gguf_headers import write_sparse
from tests.support.ggufs import tiny_gguf, write_gguf, write_split
from tests.support.hub import Hub
from tests.support.hub.faults import Gate
from tests.support.programs import eventually, stopped
from tests.support.stand import Document, Stand

MIB = 1024**2
SIZE = 24 * MIB
VERIFY_AT = "models.rbee.dev/verifyAt"
RECONCILE_AT = "models.rbee.dev/reconcileAt"
TINY = "hf/acme/tiny/tiny.Q4_K_M.gguf"


@pytest.fixture
def large(bench: Stand, tmp_path: Path) -> int:
    """The size in bytes of `acme/large`, which the hub has."""
    file = write_gguf(tmp_path / "l.gguf", size=SIZE)
    bench.hub.repository("acme/large").add("l.Q4_K_M.gguf", file)
    return file.stat().st_size


@pytest.fixture
def gate(bench: Stand, large: int) -> Gate:
    """The gate at which the hub stops in the middle of `acme/large`."""
    return bench.hub.pause_at(large // 2, "l.Q4_K_M.gguf")


def sparse(bench: Stand, directory: Path, size: int) -> int:
    """Adds `acme/huge` to the hub, a header and zeros. Returns its size in bytes."""
    file = write_sparse(directory / "h.gguf", size)
    bench.hub.repository("acme/huge").add("h.Q4_K_M.gguf", file)
    return file.stat().st_size


def progress(bench: Stand, name: str) -> int:
    return int(bench.get(name).get("status", {}).get("progress", {}).get("bytes", 0))


def available(bench: Stand, name: str, generation: int) -> Document | None:
    """The status of the object if it is Available and has observed this generation, else None."""
    status: Document = bench.get(name)["status"]
    reasons = {one["reason"] for one in status.get("conditions", ())}
    return status if (status["observedGeneration"], reasons) == (generation, {"Available"}) else None


def annotate(bench: Stand, name: str, key: str, value: str) -> Document:
    """Sets the annotation. Returns the object's status as soon as it has handled it."""
    bench.patch(name, annotations={key: value})
    answer = "lastHandledVerifyAt" if key == VERIFY_AT else "lastHandledReconcileAt"

    def answered() -> Document | None:
        status: Document = bench.get(name)["status"]
        return status if status.get(answer) == value else None

    return eventually(answered, f"{key} is answered")


def test_a_pause_keeps_the_bytes(bench: Stand, large: int, gate: Gate) -> None:
    bench.start_operator()
    bench.apply("large", modelRef="hf:acme/large", connections=1)
    gate.wait_reached()
    eventually(lambda: progress(bench, "large") > large // 4, "bytes are told of")
    assert bench.hub.connections == 1
    bench.patch("large", {"suspend": True})
    eventually(lambda: bench.hub.connections == 0, "every connection is closed", 15)
    paused = bench.until("large", "Suspended")["status"]
    assert paused["progress"]["bytes"] > large // 4
    assert re.fullmatch(
        r"\S+ MiB of 24 MiB are here; set `suspend` to false to go on", paused["conditions"][0]["message"]
    )
    gate.release()
    bench.patch("large", {"suspend": False, "connections": 4})
    status = bench.until("large", "Available")["status"]
    assert status["attempts"] == 1
    assert bench.hub.bytes_sent("l.Q4_K_M.gguf") <= large + 8 * MIB


def test_a_limit_is_lifted_while_bytes_flow(bench: Stand, large: int) -> None:
    bench.start_operator()
    bench.apply("large", modelRef="hf:acme/large", maxBytesPerSecond="64Ki")  # six minutes
    bench.until("large", "Downloading")
    bench.patch("large", {"maxBytesPerSecond": None})
    status = bench.until("large", "Available")["status"]
    assert status["attempts"] == 1
    assert bench.hub.bytes_sent("l.Q4_K_M.gguf") == large, "the transfer went on, it did not begin anew"


def test_a_limit_is_lowered_while_bytes_flow(bench: Stand, tmp_path: Path) -> None:
    size = sparse(bench, tmp_path, 128 * MIB)
    bench.start_operator()
    bench.apply("huge", modelRef="hf:acme/huge", connections=1, maxBytesPerSecond="8Mi")
    # The first request is 8 MiB for the header, the next is 60 MiB. By now the socket buffers are full.
    eventually(lambda: progress(bench, "huge") > 10 * MIB, "it is in its long range")
    bench.patch("huge", {"maxBytesPerSecond": "1Mi"})
    eventually(lambda: bench.get("huge")["status"]["observedGeneration"] == 2, "that was seen")
    began, sent = time.monotonic(), bench.hub.bytes_sent()
    time.sleep(4)
    assert bench.hub.bytes_sent() - sent <= 3 * MIB * (time.monotonic() - began)
    before = progress(bench, "huge")
    eventually(lambda: progress(bench, "huge") > before, "bytes flow on")
    bench.patch("huge", {"maxBytesPerSecond": None})
    assert bench.until("huge", "Available")["status"]["attempts"] == 1
    assert bench.hub.bytes_sent() == size, "the transfer went on, it did not begin anew"


def test_connections_are_added_while_bytes_flow(bench: Stand, tmp_path: Path) -> None:
    sparse(bench, tmp_path, 128 * MIB)
    bench.hub.bytes_per_connection(4 * MIB)
    bench.start_operator()
    bench.apply("huge", modelRef="hf:acme/huge", connections=1)
    bench.until("huge", "Downloading")
    assert bench.hub.connections_high_water == 1
    bench.patch("huge", {"connections": 8})
    eventually(lambda: bench.hub.connections_high_water > 2, "there are more connections")
    bench.hub.bytes_per_connection(None)
    assert bench.until("huge", "Available")["status"]["attempts"] == 1


def test_connections_are_taken_away_while_bytes_flow(bench: Stand, tmp_path: Path) -> None:
    """Each connection completes its request, so that no byte is discarded; then one connection goes on."""
    size = sparse(bench, tmp_path, 512 * MIB)
    bench.hub.bytes_per_connection(4 * MIB)
    bench.start_operator()
    bench.apply("huge", modelRef="hf:acme/huge", connections=8)
    eventually(lambda: bench.hub.connections >= 4, "there are several connections")
    bench.patch("huge", {"connections": 1})
    eventually(lambda: bench.get("huge")["status"]["observedGeneration"] == 2, "that was seen")
    asked_for = max(one.range[1] for one in bench.hub.log if one.range)
    gate = bench.hub.pause_at(asked_for + 64 * MIB)
    bench.hub.bytes_per_connection(32 * MIB)  # not more: one that is left far behind the others begins anew
    gate.wait_reached(60)
    assert bench.hub.connections == 1, "one alone went on"
    bench.hub.bytes_per_connection(None)
    gate.release()
    assert bench.until("huge", "Available")["status"]["attempts"] == 1
    assert bench.hub.bytes_sent() == size, "nothing was sent again"


def test_a_higher_priority_leaves_the_queue_first(bench: Stand, large: int, gate: Gate) -> None:
    bench.start_operator("--slots=1")
    bench.apply("large", modelRef="hf:acme/large")
    gate.wait_reached()
    for name, quantization in (("older", "Q4_K_M"), ("urgent", "Q8_0")):
        bench.apply(name, modelRef=f"hf:acme/tiny:{quantization}")
        bench.until(name, "Queued")
    bench.patch("urgent", {"priority": 1})
    eventually(lambda: bench.get("urgent")["status"]["observedGeneration"] == 2, "that was seen")
    gate.release()
    for name in ("large", "older", "urgent"):
        bench.until(name, "Available")
    content = [one.path for one in bench.hub.log if one.origin == "content" and "tiny" in one.path]
    assert "Q8_0" in content[0], "the urgent one was asked for first"


def test_a_corrected_ref_is_not_told_the_verdict_on_the_wrong_one(bench: Stand) -> None:
    """A client that waits with kstatus would stop at the old error."""
    bench.start_operator()
    bench.apply("typo", modelRef="hf:acme/tyny")
    bench.apply("paused", modelRef="hf:acme/tiny:Q8_0", suspend=True)
    bench.until("typo", "SourceNotFound")
    bench.until("paused", "Suspended")
    bench.patch("typo", {"modelRef": "hf:acme/tiny"})
    bench.patch("paused", {"suspend": False})
    for name, old in (("typo", "SourceNotFound"), ("paused", "Suspended")):
        bench.until(name, "Available")
        of_the_new = [one["status"] for one in bench.history.of(name) if one["status"]["observedGeneration"] == 2]
        assert old not in {one["reason"] for status in of_the_new for one in status["conditions"]}


def test_another_model_may_be_asked_for_until_the_api_server_knows_that_fetching_began(
    bench: Stand, cluster: Cluster, tmp_path: Path
) -> None:
    with ApiProxy(cluster) as proxy:
        bench.start_operator(f"--kubeconfig={proxy.kubeconfig(tmp_path / 'config')}")
        bench.hub.repository("acme/other").add("other.Q4_K_M.gguf", tiny_gguf(seed=7))
        for name in ("begun", "ready"):
            with proxy.answering(500, status_patches):
                gate = bench.hub.pause_at(50_000, "tiny.Q4_K_M.gguf") if name == "begun" else None
                bench.apply(name, modelRef="hf:acme/tiny", reclaimPolicy="Delete")
                if gate:
                    gate.wait_reached()
                else:
                    eventually(
                        lambda: "ready.path" in bench.catalog(), "it is ready, and the status could not be written"
                    )
                bench.patch(name, {"modelRef": "hf:acme/other"})
                if gate:
                    gate.release()
            status = eventually(partial(available, bench, name, 2), f"{name} is the other one")
            assert status["model"]["path"] == "hf/acme/other/other.Q4_K_M.gguf"
            assert bench.catalog()[f"{name}.path"] == status["model"]["path"]
            assert bench.published() == [status["model"]["path"]], "the file of the former ref is removed"


def test_what_was_edited_in_a_pause_before_fetching_began_is_honoured(bench: Stand) -> None:
    with Hub() as mirror:
        mirror.repository("acme/tiny").add("tiny.Q4_K_M.gguf", tiny_gguf(seed=8))
        authorities = bench.volume.parent / "authorities.pem"
        authorities.write_bytes(bench.hub.ca_file.read_bytes() + mirror.ca_file.read_bytes())
        hosts = [mirror.host_port, mirror.content_origin.removeprefix("https://")]
        bench.start_operator(f"--ca-file={authorities}", *(f"--allow-host={host}" for host in hosts))
        right, wrong = (f"sha256:{hashlib.sha256(tiny_gguf(seed=seed)).hexdigest()}" for seed in (1, 2))
        q8 = {"modelRef": "hf:acme/tiny:Q8_0"}
        cases: dict[str, tuple[Document, str, Document]] = {
            "elsewhere": ({"modelRef": "hf:acme/tiny"}, "Suspended", {"endpoint": mirror.endpoint}),
            "righted": (q8 | {"digest": wrong}, "DigestMismatch", {"digest": right}),
            "wronged": (q8, "Suspended", {"digest": wrong}),
        }
        for name, (spec, reason, _) in cases.items():
            bench.apply(name, **spec, suspend=True)
            bench.until(name, reason)
        for name, (_, _, edit) in cases.items():
            bench.patch(name, edit)
            bench.patch(name, {"suspend": False})
        path = bench.until("elsewhere", "Available")["status"]["model"]["path"]
        assert bench.until("righted", "Available")["status"]["model"]["digestSource"] == "Spec"
        assert wrong in bench.until("wronged", "DigestMismatch")["status"]["conditions"][0]["message"]
    assert (bench.volume / path).read_bytes() == tiny_gguf(seed=8)
    assert path != TINY, "the files of another hub lie apart"
    assert bench.hub.bytes_sent("tiny.Q4_K_M.gguf") == 0


def test_limits_hold_that_were_changed_while_a_ref_was_resolved(bench: Stand, large: int) -> None:
    operator = bench.start_operator()
    bench.apply("first", modelRef="hf:acme/tiny")
    bench.until("first", "Available")
    with stopped(operator.child("model-resolver")):
        bench.apply("large", modelRef="hf:acme/large")
        bench.until("large", "Resolving")
        bench.patch("large", {"maxBytesPerSecond": "64Ki"})
        eventually(lambda: bench.get("large")["status"]["observedGeneration"] == 2, "that was seen")
    bench.until("large", "Downloading")
    eventually(lambda: progress(bench, "large"), "bytes are told of")
    assert bench.hub.bytes_sent("l.Q4_K_M.gguf") < large // 2, "64 KiB a second, and not all at once"


def test_a_wish_to_have_the_files_read_again_is_answered_although_they_were_not_there_yet(
    bench: Stand, gate: Gate
) -> None:
    bench.start_operator()
    bench.apply("large", modelRef="hf:acme/large")
    gate.wait_reached()
    bench.patch("large", annotations={VERIFY_AT: "early"})
    gate.release()
    bench.until("large", "Available")
    eventually(lambda: bench.get("large")["status"].get("lastHandledVerifyAt") == "early", "it is answered")


def test_a_status_that_another_client_writes_is_replaced(bench: Stand) -> None:
    bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny")
    right = bench.until("tiny", "Available")["status"]
    wrong = [one | {"status": "False", "reason": "Downloading"} for one in right["conditions"]]
    bench.cluster.api.merge(bench.path("tiny") + "/status", {"status": {"conditions": wrong, "attempts": 7}})

    def is_right() -> bool:
        status = bench.get("tiny")["status"]
        return (bench.ready("tiny")["reason"], status["attempts"]) == ("Available", right["attempts"])

    eventually(is_right, "it is as it was", 45)  # less than the minute after which the files are looked at anyway


REPAIRS: dict[str, tuple[str, dict[str, str] | None, dict[str, str]]] = {
    "refused": ("AccessDenied", {"token": "hf_wrong"}, {"token": "hf_good"}),
    "absent": ("SecretNotFound", None, {"token": "hf_good"}),
    "empty": ("SecretNotFound", {"other": "x"}, {"HF_TOKEN": "hf_good"}),
    "stranger": ("LicenseNotAccepted", {"token": "hf_stranger"}, {"token": "hf_good"}),
}
"""By the name of the object and of its Secret: the reason, the data of the wrong Secret, those of the right one."""


def test_what_is_looked_at_every_minute_wakes_by_itself(bench: Stand) -> None:
    """One test for all cases, because each takes a minute."""
    bench.hub.repository("acme/gated", gated=True).add("g.Q4_K_M.gguf", tiny_gguf(seed=3))
    bench.hub.tokens.add("hf_stranger")
    bench.start_operator()
    bench.apply("robbed", modelRef="hf:acme/tiny")
    bench.until("robbed", "Available")
    for name, (reason, wrong, _) in REPAIRS.items():
        if wrong:
            bench.secret(name, wrong)
        bench.apply(name, modelRef="hf:acme/gated", credentialsSecretRef={"name": name})
        bench.until(name, reason)
    for name, (_, _, right) in REPAIRS.items():
        bench.secret(name, right)
    (bench.volume / TINY).unlink()
    for name in REPAIRS:
        bench.until(name, "Available", 120)
    eventually(lambda: bench.get("robbed")["status"]["attempts"] == 2, "the file is fetched again", 120)
    bench.until("robbed", "Available")
    told = [ready["status"] for one in bench.history.of("robbed") if (ready := ready_of(one))]
    assert "False" in told[told.index("True") :], "the status reported that the file was missing"
    assert ("Warning", "FileMissing") in bench.events("robbed")
    assert (bench.volume / TINY).read_bytes() == tiny_gguf()


def test_what_others_have_put_right_is_found_without_being_asked(bench: Stand, tmp_path: Path) -> None:
    late = bench.hub.repository("acme/late")
    first, second = write_split(tmp_path, "late.Q4_K_M", parts=2)
    late.add(first.name, first)
    bench.hub.repository("acme/closed", gated=True).add("c.Q4_K_M.gguf", tiny_gguf(seed=4))
    bench.hub.tokens.add("hf_member")
    bench.secret("member", {"token": "hf_member"})
    bench.start_operator(module="tests.support.hasty")
    bench.apply("unborn", modelRef="hf:acme/unborn")
    bench.apply("partial", modelRef="hf:acme/late")
    bench.apply("applicant", modelRef="hf:acme/closed", credentialsSecretRef={"name": "member"})
    for name, reason in (
        ("unborn", "SourceNotFound"),
        ("partial", "IncompleteModel"),
        ("applicant", "LicenseNotAccepted"),
    ):
        assert "nextRetryTime" in bench.until(name, reason)["status"]
    bench.hub.repository("acme/unborn").add("u.Q4_K_M.gguf", tiny_gguf(seed=5))
    late.add(second.name, second)
    bench.hub.repository("acme/closed", gated=True, tokens=frozenset({"hf_member"})).add("c.Q4_K_M.gguf", tiny_gguf())
    for name in ("unborn", "partial", "applicant"):
        bench.until(name, "Available")


def ready_of(document: Document) -> dict[str, Any] | None:
    conditions = document.get("status", {}).get("conditions", ())
    return next((one for one in conditions if one["type"] == "Ready"), None)


def test_a_right_file_stays_ready_while_it_is_read_again(bench: Stand) -> None:
    bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny")
    before = bench.until("tiny", "Available")["status"]
    after = annotate(bench, "tiny", VERIFY_AT, "2026-01-01T00:00:00Z")
    assert after["conditions"] == before["conditions"]
    told = [ready["status"] for one in bench.history.of("tiny") if (ready := ready_of(one))]
    assert "False" not in told[told.index("True") :]


def test_rot_is_found_when_asked_and_the_file_is_fetched_again(bench: Stand) -> None:
    bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny")
    bench.until("tiny", "Available")
    rot(bench.volume / TINY)
    assert annotate(bench, "tiny", VERIFY_AT, "2026-01-01T00:00:00Z")["attempts"] == 2
    bench.until("tiny", "Available")
    assert ("Warning", "DigestMismatch") in bench.events("tiny")
    assert (bench.volume / TINY).read_bytes() == tiny_gguf()


def test_damage_that_one_object_finds_is_reported_to_all_that_share_the_file(bench: Stand) -> None:
    operator = bench.start_operator()
    for name in ("asks", "shares", "later"):
        bench.apply(name, modelRef="hf:acme/tiny")
        bench.until(name, "Available")
    bench.patch("asks", {"suspend": True})
    gate = bench.hub.pause_at(50_000, "tiny.Q4_K_M.gguf")
    rot(bench.volume / TINY)
    bench.patch("asks", annotations={VERIFY_AT: "now"})
    bench.until("asks", "Suspended")
    gate.wait_reached()
    for name in ("shares", "later"):
        bench.until(name, "Downloading")
    eventually(lambda: bench.catalog() == {}, "the catalog does not list it")
    operator.kill()
    gate.release()
    bench.start_operator()
    for name in ("shares", "later"):
        bench.until(name, "Available")
    assert (bench.volume / TINY).read_bytes() == tiny_gguf()
    assert bench.ready("asks")["reason"] == "Suspended"


def test_rot_in_somebodys_own_file_is_theirs_to_mend(bench: Stand) -> None:
    own = bench.volume / "local" / "own.gguf"
    own.parent.mkdir()
    own.write_bytes(tiny_gguf())
    bench.start_operator()
    for name in ("own", "shares"):
        bench.apply(name, modelRef="local:own.gguf")
        bench.until(name, "Available")
    rot(own)
    bench.patch("own", annotations={VERIFY_AT: "2026-01-01T00:00:00Z"})
    for name in ("own", "shares"):
        bench.until(name, "DigestMismatch")
    eventually(lambda: bench.catalog() == {}, "the catalog does not list it")
    own.write_bytes(tiny_gguf())
    for name in ("own", "shares"):
        annotate(bench, name, RECONCILE_AT, "2026-01-02T00:00:00Z")
        bench.until(name, "Available")


def rot(file: Path) -> None:
    """Flips one bit in place, as a disk may: no check may see another size meanwhile."""
    file.chmod(0o644)
    with file.open("r+b") as opened:
        middle = file.stat().st_size // 2
        opened.seek(middle)
        (byte,) = opened.read(1)
        opened.seek(middle)
        opened.write(bytes([byte ^ 1]))
