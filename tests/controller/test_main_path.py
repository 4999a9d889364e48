"""From a manifest to a verified file, and its removal: what every user relies on."""

import hashlib
import json
import re
import stat

from tests.support.ggufs import tiny_gguf
from tests.support.programs import eventually
from tests.support.stand import Stand

PATH = "hf/acme/tiny/tiny.Q4_K_M.gguf"


def test_a_manifest_becomes_a_verified_file(bench: Stand) -> None:
    bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny")
    found = bench.until("tiny", "Available")
    status, model = found["status"], found["status"]["model"]
    content = (bench.volume / PATH).read_bytes()

    assert content == tiny_gguf()
    assert stat.S_IMODE((bench.volume / PATH).stat().st_mode) == 0o444
    assert model["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert (model["path"], model["claimName"], model["digestSource"]) == (PATH, "models", "Source")
    assert model["revision"] == repository_commit(bench)
    assert model["gguf"]["architecture"] == "llama"
    assert [(one["type"], one["status"]) for one in status["conditions"]] == [("Ready", "True")]
    assert status["observedGeneration"] == found["metadata"]["generation"] == 1
    assert (status["progress"]["percent"], status["progress"]["bytes"]) == (100, len(content))
    assert status["attempts"] == 1
    assert status["startTime"] <= status["completionTime"]
    assert found["metadata"]["finalizers"] == ["models.rbee.dev/operator"]

    catalog = bench.catalog()
    assert (catalog["tiny.path"], catalog["tiny.claim"]) == (PATH, "models")
    assert json.loads(catalog["tiny.json"])["digest"] == model["digest"]
    eventually(lambda: bench.events("tiny")[-1:] == [("Normal", "Available")], "an Event, which follows the status")


def test_a_suspended_object_tells_what_there_is_to_decide_and_fetches_nothing(bench: Stand) -> None:
    bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny:Q8_0", suspend=True)
    found = bench.until("tiny", "Suspended")
    message = found["status"]["conditions"][0]["message"]
    assert re.fullmatch(
        r"74 KiB in all, \S+ [GT]iB are free; there is also Q4_K_M \(74 KiB\); set `suspend` to false to go on", message
    )
    assert found["status"]["model"]["sizeBytes"] == len(tiny_gguf(seed=1))
    assert [one["type"] for one in found["status"]["conditions"]] == ["Ready"]
    assert "startTime" not in found["status"]
    assert bench.hub.bytes_sent() == 0

    bench.patch("tiny", {"modelRef": "hf:acme/tiny:Q4_K_M"})
    eventually(lambda: "there is also Q8_0" in bench.ready("tiny")["message"], "another is chosen")
    bench.patch("tiny", {"modelRef": "hf:acme/tiny:Q8_0"})

    bench.patch("tiny", {"suspend": False})
    bench.until("tiny", "Available")
    assert bench.published() == ["hf/acme/tiny/tiny.Q8_0.gguf"]


def test_a_file_that_is_there_already_is_verified_and_catalogued(bench: Stand) -> None:
    local = bench.volume / "local" / "mine.gguf"
    local.parent.mkdir()
    local.write_bytes(tiny_gguf())
    local.chmod(0o640)
    bench.start_operator()
    bench.apply("mine", modelRef="local:mine.gguf")
    model = bench.until("mine", "Available")["status"]["model"]
    assert (model["path"], model["digestSource"]) == ("local/mine.gguf", "Computed")
    assert model["digest"] == f"sha256:{hashlib.sha256(tiny_gguf()).hexdigest()}"
    bench.delete("mine")
    bench.until_gone("mine")
    assert local.read_bytes() == tiny_gguf()
    assert stat.S_IMODE(local.stat().st_mode) == 0o640


def test_deletion_keeps_or_removes_the_file_as_the_policy_says(bench: Stand) -> None:
    bench.start_operator()
    bench.apply("kept", modelRef="hf:acme/tiny:Q4_K_M")
    bench.apply("removed", modelRef="hf:acme/tiny:Q8_0")
    bench.until("kept", "Available")
    bench.until("removed", "Available")
    bench.patch("removed", {"reclaimPolicy": "Delete"})
    for name in ("kept", "removed"):
        bench.delete(name)
        bench.until_gone(name)
    assert bench.published() == [PATH]
    assert bench.catalog() == {}
    assert not list((bench.volume / ".provisioner" / "parts").iterdir())


def test_two_objects_share_one_file_until_the_last_one_goes(bench: Stand) -> None:
    bench.start_operator("--slots=2")
    for name in ("one", "two"):
        bench.apply(name, modelRef="hf:acme/tiny:Q4_K_M", reclaimPolicy="Delete")
    for name in ("one", "two"):
        bench.until(name, "Available")
    assert bench.hub.bytes_sent("tiny.Q4_K_M.gguf") == len(tiny_gguf())
    bench.delete("one")
    bench.until_gone("one")
    assert bench.published() == [PATH]
    assert list(bench.catalog()) == ["two.claim", "two.json", "two.path"]
    bench.delete("two")
    bench.until_gone("two")
    assert bench.published() == []


def test_edits_do_not_take_readiness_back(bench: Stand) -> None:
    bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny")
    before = bench.until("tiny", "Available")["status"]["conditions"][0]
    bench.patch("tiny", {"suspend": True, "maxBytesPerSecond": "1Mi", "connections": 2, "priority": 3})
    after = eventually(
        lambda: bench.get("tiny")["status"] if bench.get("tiny")["status"]["observedGeneration"] == 2 else None,
        "the edit is observed",
    )["conditions"][0]
    assert after == {**before, "observedGeneration": 2}


def test_the_annotation_asks_for_another_try_and_is_answered(bench: Stand) -> None:
    bench.start_operator()
    bench.apply("late", modelRef="hf:acme/late")
    bench.until("late", "SourceNotFound")
    bench.hub.repository("acme/late").add("late.Q4_K_M.gguf", tiny_gguf(seed=2))
    bench.patch("late", annotations={"models.rbee.dev/reconcileAt": "2026-01-01T00:00:00Z"})
    status = bench.until("late", "Available")["status"]
    assert status["lastHandledReconcileAt"] == "2026-01-01T00:00:00Z"


def repository_commit(bench: Stand) -> str:
    """The commit of the hub's branch, from the first request for a file."""
    request = next(one for one in bench.hub.log if "/resolve/" in one.path)
    return request.path.split("/resolve/")[1].split("/")[0]
