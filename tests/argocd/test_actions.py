"""The actions that Argo CD offers for an object: when it offers each, what it changes, and what the operator does."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from tests.argocd.scripts import ARGOCD, Document, run_file
from tests.support.ggufs import tiny_gguf
from tests.support.goldens import read_goldens
from tests.support.programs import eventually
from tests.support.stand import Stand, stand

GOLDENS = read_goldens("status")
DELETING = GOLDENS["downloading"] | {
    "metadata": {**GOLDENS["downloading"]["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
}
SUSPENDED_AND_STALLED = GOLDENS["error-VolumeChanged"] | {"spec": {"modelRef": "hf:acme/tiny", "suspend": True}}
ANNOTATIONS = {"verify": "models.rbee.dev/verifyAt", "retry": "models.rbee.dev/reconcileAt"}


def _act(action: str, document: Document) -> Document:
    changed: Document = run_file(f"actions/{action}/action.lua", document)
    return changed


@pytest.mark.parametrize(
    ("document", "offered"),
    [
        (GOLDENS["new"], {"suspend", "retry"}),
        (GOLDENS["downloading"], {"suspend", "retry"}),
        (GOLDENS["error-SourceUnavailable"], {"suspend", "retry"}),
        (GOLDENS["error-VolumeChanged"], {"suspend", "retry"}),
        (GOLDENS["suspended-amid-bytes"], {"resume"}),
        (SUSPENDED_AND_STALLED, {"resume", "retry"}),
        (GOLDENS["available"], {"verify"}),
        (GOLDENS["available-while-suspended"], {"verify", "resume"}),
        ({"metadata": {}, "spec": {"modelRef": "hf:acme/tiny"}}, {"suspend", "retry"}),
        (DELETING, set()),
    ],
)
def test_what_makes_sense_is_offered(document: Document, offered: set[str]) -> None:
    discovered = run_file("actions/discovery.lua", document)
    assert {name for name, action in discovered.items() if not action["disabled"]} == offered


def test_every_action_has_a_script() -> None:
    discovered = run_file("actions/discovery.lua", GOLDENS["new"])
    assert set(discovered) == {file.parent.name for file in ARGOCD.glob("actions/*/action.lua")}


@pytest.mark.parametrize(("action", "suspend"), [("suspend", True), ("resume", False)])
@pytest.mark.parametrize("before", [{}, {"suspend": True}, {"suspend": False}])
def test_suspending_and_resuming_set_one_field(action: str, suspend: bool, before: Document) -> None:
    document = GOLDENS["downloading"] | {"spec": {"modelRef": "hf:acme/tiny", **before}}
    assert _act(action, document) == document | {"spec": {"modelRef": "hf:acme/tiny", "suspend": suspend}}


@pytest.mark.parametrize("action", ANNOTATIONS)
@pytest.mark.parametrize("before", [None, {"team": "chat"}, {"team": "chat", ANNOTATIONS["verify"]: "long ago"}])
def test_verifying_and_retrying_say_when_they_were_asked_for(action: str, before: dict[str, str] | None) -> None:
    metadata = {"name": "tiny", "generation": 1} | ({"annotations": before} if before else {})
    begin = datetime.now(UTC).replace(microsecond=0)
    changed = _act(action, GOLDENS["available"] | {"metadata": metadata})
    asked = changed["metadata"]["annotations"].pop(ANNOTATIONS[action])
    assert asked.endswith("Z")
    assert begin <= datetime.fromisoformat(asked) <= datetime.now(UTC)
    others = {key: value for key, value in (before or {}).items() if key != ANNOTATIONS[action]}
    assert changed == GOLDENS["available"] | {"metadata": {**metadata, "annotations": others}}


@pytest.fixture
def bench(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Stand]:
    with stand(cluster, namespace, tmp_path) as made:
        made.start_operator()
        yield made


def test_the_operator_does_what_the_actions_ask_for(bench: Stand) -> None:
    def act(action: str) -> Document:
        """Sends the changes of the script as a merge patch, as Argo CD does."""
        changed = _act(action, bench.get("tiny"))
        bench.patch("tiny", changed["spec"], annotations=changed["metadata"].get("annotations", {}))
        return changed

    def handled(field: str, asked: str) -> Callable[[], bool]:
        return lambda: bench.get("tiny")["status"].get(field) == asked

    bench.apply("tiny", modelRef="hf:acme/tiny")
    bench.until("tiny", "SourceNotFound")
    bench.hub.repository("acme/tiny").add("tiny.Q4_K_M.gguf", tiny_gguf())
    act("suspend")
    asked = act("retry")["metadata"]["annotations"][ANNOTATIONS["retry"]]
    bench.until("tiny", "Suspended")
    eventually(handled("lastHandledReconcileAt", asked), "the retry is answered")
    act("resume")
    bench.until("tiny", "Available")
    asked = act("verify")["metadata"]["annotations"][ANNOTATIONS["verify"]]
    eventually(handled("lastHandledVerifyAt", asked), "the files are read again")
    assert run_file("health.lua", bench.get("tiny"))["status"] == "Healthy"
