"""Objects that stay although they are deleted, because another program's finalizer is on them.

The operator is done with them: they are not Ready, are not in the catalog, hold no file, and nothing is fetched again.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.controller.test_metrics import Scraper
from tests.support.conditions import broken_rules, condition, kstatus
from tests.support.programs import eventually
from tests.support.stand import Stand

FOREIGN = "example.com/backup"
OURS = "models.rbee.dev/operator"
FILE = "hf/acme/tiny/tiny.Q4_K_M.gguf"
SOON_SECONDS = 45  # less than the minute after which an object is let go without its files


def apply(bench: Stand, name: str = "tiny", ref: str = "hf:acme/tiny", **spec: Any) -> None:
    """An object with a finalizer that no program here removes."""
    document = bench.manifest(name, modelRef=ref, **spec)
    document["metadata"]["finalizers"] = [FOREIGN]
    bench.cluster.apply([document])


def finalizers(bench: Stand, name: str = "tiny") -> list[str]:
    return list(bench.get(name)["metadata"].get("finalizers", ()))


def linger(bench: Stand, name: str = "tiny") -> dict[str, Any]:
    """Deletes the object; returns it when the operator has let go of it."""
    bench.delete(name)
    eventually(lambda: finalizers(bench, name) == [FOREIGN], "the operator has let go", SOON_SECONDS)
    return bench.get(name)


def delete_in_the_foreground(bench: Stand) -> dict[str, Any]:
    """As `kubectl delete --cascade=foreground`; the garbage collector, which is not here, would end it."""
    bench.cluster.api.request("DELETE", bench.path("tiny"), {"propagationPolicy": "Foreground"})
    eventually(lambda: OURS not in finalizers(bench), "the operator has let go", SOON_SECONDS)
    return bench.get("tiny")


@pytest.mark.parametrize("delete", [linger, delete_in_the_foreground], ids=["foreign finalizer", "foreground"])
@pytest.mark.parametrize(("policy", "left"), [("Delete", []), ("Retain", [FILE])])
def test_what_the_operator_has_let_go_of_is_not_ready(
    bench: Stand, policy: str, left: list[str], delete: Callable[[Stand], dict[str, Any]]
) -> None:
    bench.start_operator()
    apply(bench, reclaimPolicy=policy)
    before = bench.until("tiny", "Available")
    found = delete(bench)
    assert (bench.published(), bench.catalog()) == (left, {})
    (ready,) = found["status"]["conditions"]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "False", "Terminating")
    assert FOREIGN in ready["message"]
    assert OURS not in ready["message"]
    assert f"files deleted: {1 if policy == 'Delete' else 'none'}" in ready["message"]
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    assert "completionTime" not in found["status"]
    assert found["status"]["model"] == before["status"]["model"]
    assert (kstatus(found), broken_rules(found)) == ("Terminating", [])


@pytest.mark.parametrize("state", ["SourceNotFound", "Suspended"])
def test_one_that_never_was_ready_says_so_too(bench: Stand, state: str) -> None:
    bench.start_operator()
    if state == "Suspended":
        apply(bench, suspend=True)
    else:
        apply(bench, ref="hf:acme/none")
    bench.until("tiny", state)
    (ready,) = linger(bench)["status"]["conditions"]
    assert (ready["status"], ready["reason"]) == ("False", "Terminating")


def test_a_restart_fetches_nothing_for_it_and_writes_nothing_to_it(bench: Stand) -> None:
    operator = bench.start_operator()
    apply(bench, reclaimPolicy="Delete")
    bench.until("tiny", "Available")
    before = linger(bench)
    assert operator.stop() == 0
    bench.hub.clear_log()
    scraper = Scraper(bench)
    bench.apply("other", modelRef="hf:acme/tiny:Q8_0")
    bench.until("other", "Available")
    assert not any("Q4_K_M" in request.path for request in bench.hub.log)
    assert bench.published() == ["hf/acme/tiny/tiny.Q8_0.gguf"]
    assert sorted({key.partition(".")[0] for key in bench.catalog()}) == ["other"]
    assert scraper.samples("downloads") == {(bench.namespace, "Available"): 1}
    assert bench.get("tiny") == before
    bench.patch("tiny", finalizers=None)
    bench.until_gone("tiny")


def test_one_of_the_same_bytes_fetches_and_holds_its_own(bench: Stand) -> None:
    bench.start_operator()
    apply(bench, reclaimPolicy="Delete")
    bench.until("tiny", "Available")
    linger(bench)
    bench.apply("again", modelRef="hf:acme/tiny", reclaimPolicy="Delete")
    bench.until("again", "Available")
    assert bench.published() == [FILE]
    bench.delete("again")
    bench.until_gone("again")
    assert bench.published() == [], "the lingering one holds nothing"


def test_an_exchanged_volume_waits_for_no_object_that_lingers(bench: Stand) -> None:
    operator = bench.start_operator()
    apply(bench)
    bench.until("tiny", "Available")
    linger(bench)
    operator.stop()
    bench.volume.rename(bench.volume.with_name("lost"))
    bench.volume.mkdir()
    bench.start_operator()
    bench.apply("other", modelRef="hf:acme/tiny:Q8_0")
    bench.until("other", "Available")


def test_one_whose_files_cannot_be_removed_says_why_and_is_not_ready(bench: Stand) -> None:
    operator = bench.start_operator()
    apply(bench, reclaimPolicy="Delete")
    bench.until("tiny", "Available")
    operator.kill()
    bench.volume.rename(bench.volume.with_name("away"))
    bench.volume.mkdir()
    bench.start_operator(module="tests.support.hasty")
    bench.until("tiny", "VolumeChanged")
    bench.delete("tiny")
    eventually(lambda: finalizers(bench) == [FOREIGN], "the operator has let go")
    assert "without removing its files" in condition_message(bench.get("tiny"))
    assert FOREIGN in condition_message(bench.get("tiny"))
    told = [ready for one in bench.history.of("tiny") if (ready := condition(one, "Ready"))]
    messages = [ready["message"] for ready in told if ready["reason"] == "Terminating"]
    assert any("not finished: " in message for message in messages), "it said why before it let go"
    assert ("Warning", "CleanupPostponed") in bench.events("tiny")


def condition_message(document: dict[str, Any]) -> str:
    (ready,) = document["status"]["conditions"]
    return str(ready["message"])


def test_a_record_that_stayed_is_swept_while_the_object_lingers(bench: Stand) -> None:
    operator = bench.start_operator()
    apply(bench)
    bench.until("tiny", "Available")
    operator.kill()
    bench.patch("tiny", finalizers=[FOREIGN])
    bench.delete("tiny")
    bench.start_operator()
    holders = bench.volume / ".provisioner" / "holders"
    eventually(lambda: not list(holders.iterdir()), "its record is swept")
    assert bench.published() == [FILE]
    assert finalizers(bench) == [FOREIGN]


def test_an_object_that_goes_at_once_gets_no_further_status(bench: Stand) -> None:
    bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny")
    bench.until("tiny", "Available")
    bench.delete("tiny")
    bench.until_gone("tiny")
    assert "Terminating" not in bench.history.reasons("tiny")
