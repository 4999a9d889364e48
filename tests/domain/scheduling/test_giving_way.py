"""When a worker pod without work makes way for a pod that waits for the claim."""

import pytest

from model_provisioner.domain.scheduling.giving_way import WaitingPod, first_in_need

RWO = frozenset({"ReadWriteOnce"})
RWOP = frozenset({"ReadWriteOncePod"})
RWX = frozenset({"ReadWriteMany"})
HERE, THERE = "n1", "n2"

NEEDS: list[tuple[str, frozenset[str], WaitingPod, bool]] = [
    ("any number of nodes", RWX, WaitingPod("web", THERE), False),
    ("one mode of several", RWX | RWO, WaitingPod("web", THERE), False),
    ("a mode that is not known", frozenset(), WaitingPod("web", THERE), False),
    ("on another node", RWO, WaitingPod("web", THERE), True),
    ("on the same node", RWO, WaitingPod("web", HERE), False),
    ("without a node", RWO, WaitingPod("web"), True),
    ("held by a gate", RWO, WaitingPod("web", is_held=True), False),
    ("ending", RWO, WaitingPod("web", THERE, is_ending=True), False),
    ("one pod, on another node", RWOP, WaitingPod("web", THERE), True),
    ("one pod, on the same node", RWOP, WaitingPod("web", HERE), True),
    ("one pod, without a node", RWOP, WaitingPod("web"), True),
    ("one pod, held by a gate", RWOP, WaitingPod("web", is_held=True), False),
    ("one pod, ending", RWOP, WaitingPod("web", HERE, is_ending=True), False),
]


@pytest.mark.parametrize(("modes", "pod", "needs"), [row[1:] for row in NEEDS], ids=[row[0] for row in NEEDS])
def test_a_worker_pod_ends_for_a_pod_that_it_keeps_from_its_volume(
    modes: frozenset[str], pod: WaitingPod, needs: bool
) -> None:
    assert first_in_need([pod], modes, HERE) == (pod if needs else None)
    held = WaitingPod("a", is_held=True)
    assert first_in_need([held, pod], modes, HERE) == (pod if needs else None), "others do not hide it"


def test_without_the_node_of_the_worker_no_pod_on_a_node_is_in_need() -> None:
    assert first_in_need([WaitingPod("web", THERE)], RWO, None) is None
    assert first_in_need([WaitingPod("web", THERE)], RWOP, None) == WaitingPod("web", THERE)


def test_the_order_of_pods_does_not_matter() -> None:
    pods = [WaitingPod("b"), WaitingPod("a", THERE), WaitingPod("c")]
    assert first_in_need(pods, RWO, HERE) == first_in_need(pods[::-1], RWO, HERE) == pods[1]
