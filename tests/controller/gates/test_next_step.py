"""Which step is due for a pod, and when it is looked at again. Times are in seconds."""

import math

import pytest

from model_provisioner.controller.gates.held_pods import HeldPod, HeldPods, Told
from model_provisioner.controller.gates.next_step import Step, next_step
from model_provisioner.domain.pods.affinity import Affinity
from model_provisioner.domain.pods.decision import Holding, Opening
from model_provisioner.domain.pods.gated_pod import GatedPod
from model_provisioner.domain.pods.wanted import Request

WAITING = Holding("Downloading", "42%")
FURTHER = Holding("Downloading", "43%")
BROKEN = Holding("ModelNotFound", "there is none", is_broken=True)
OTHER_BROKEN = Holding("ModelNotFound", "there is no other", is_broken=True)
NOW = 1000.0


def pod(uid: str = "u", *models: str) -> GatedPod:
    request = Request("models.rbee.dev/models", models)
    return GatedPod("ai", "server", uid, 1, 0, request, "", "/models", frozenset(), Affinity())


def held(told: Told | None = None, since: float = NOW - 100, not_before: float = -math.inf) -> HeldPod:
    return HeldPod(pod(), since=since, told=told, not_before=not_before)


def told(holding: Holding, ago: float) -> Told:
    return Told(holding.reason, holding.message, NOW - ago)


CASES: list[tuple[HeldPod, Holding, Step | None, float]] = [
    (held(since=NOW), WAITING, None, 1.5),
    (held(since=NOW - 1), BROKEN, None, 0.5),
    (held(since=NOW - 2), WAITING, Step.TELL_PROGRESS, math.inf),
    (held(since=NOW - 2), BROKEN, Step.TELL_BROKEN, math.inf),
    (held(told(WAITING, 1)), FURTHER, None, 59),
    (held(told(WAITING, 61)), FURTHER, Step.TELL_PROGRESS, math.inf),
    (held(told(WAITING, 61)), WAITING, None, 60),
    (held(told(WAITING, 1801)), WAITING, Step.TELL_PROGRESS, math.inf),
    (held(told(WAITING, 1)), BROKEN, None, 2),
    (held(told(WAITING, 4)), BROKEN, Step.TELL_BROKEN, math.inf),
    (held(told(BROKEN, 4)), OTHER_BROKEN, Step.TELL_BROKEN, math.inf),
    (held(told(BROKEN, 4), not_before=NOW + 7), BROKEN, None, 7),
]


@pytest.mark.parametrize(("pod_", "holding", "step", "again"), CASES)
def test_when_an_event_is_due(pod_: HeldPod, holding: Holding, step: Step | None, again: float) -> None:
    assert next_step(pod_, holding, NOW, 1) == (step, NOW + again)


def test_many_pods_tell_their_progress_less_often() -> None:
    waits = held(told(WAITING, 61))
    assert next_step(waits, FURTHER, NOW, 300)[0] is Step.TELL_PROGRESS
    assert next_step(waits, FURTHER, NOW, 1000) == (None, NOW + 139)


def test_a_gate_is_opened_at_once_unless_that_was_refused() -> None:
    assert next_step(held(since=NOW), Opening(()), NOW, 1) == (Step.OPEN, math.inf)
    assert next_step(held(not_before=NOW + 3), Opening(()), NOW, 1) == (None, NOW + 3)


def test_an_object_that_is_not_confirmed_is_looked_at_every_second() -> None:
    unconfirmed = Holding("Verifying", "not yet", is_unconfirmed=True)
    assert next_step(held(since=NOW), unconfirmed, NOW, 1) == (None, NOW + 1)


def test_the_newest_time_of_a_pod_counts() -> None:
    pods = HeldPods()
    for uid in ("a", "b", "c"):
        pods.put(pod(uid, "tiny"))
        pods.schedule(uid, 5)
    pods.schedule("a", 20)
    pods.schedule("b", 1)
    pods.remove("c")
    pods.schedule("gone", 1)
    assert list(pods.take_due(10)) == ["b"]
    assert list(pods.take_due(19)) == []
    assert list(pods.take_due(20)) == ["a"]
    assert pods.next_due() == math.inf


def test_pods_are_found_by_what_they_wait_for_now() -> None:
    pods = HeldPods()
    pods.put(pod("a", "one", "two"))
    pods.put(pod("b", "two"))
    assert pods.waiting_for({"two", "three"}) == {"a", "b"}
    pods.put(pod("a", "three"))
    assert (pods.waiting_for({"two"}), pods.waiting_for({"three"})) == ({"b"}, {"a"})
    pods.remove("b")
    assert (pods.waiting_for({"two"}), len(pods)) == (set(), 1)
