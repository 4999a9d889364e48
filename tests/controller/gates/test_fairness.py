"""A namespace whose pods can't be served holds up no other namespace, and no other pod of its own for long."""

from tests.controller.gates.rig import Rig
from tests.support.api_proxy import Asked
from tests.support.gated_pods import GatedPods
from tests.support.programs import eventually

MANY = 150
STEPS = 8  # that run at one time in a namespace
LONGEST = ",".join("a" * 63 for _ in range(16))


def test_a_namespace_with_many_pods_delays_no_other(rig: Rig) -> None:
    theirs = GatedPods(rig.cluster.api, rig.other_namespace)
    for number in range(MANY):
        theirs.waiting_for(f"pod-{number}", LONGEST)
    rig.ready("tiny")

    def their_events(asked: Asked) -> bool:
        return asked.method == "POST" and f"/namespaces/{rig.other_namespace}/events" in asked.path

    with rig.proxy.hanging(their_events) as hanging, rig.running():
        eventually(lambda: hanging.hits >= STEPS, "as many steps as are allowed hang")
        rig.pods.waiting_for("server", "tiny")
        eventually(lambda: rig.pods.is_open("server"), "the gate is open")
        assert hanging.hits == STEPS


def test_what_is_ready_comes_before_what_is_broken(rig: Rig) -> None:
    rig.ready("tiny")
    with rig.running():
        for number in range(MANY):
            rig.pods.waiting_for(f"broken-{number}", LONGEST)
        rig.pods.waiting_for("server", "tiny")
        eventually(lambda: rig.pods.is_open("server"), "the gate is open")
        eventually(lambda: rig.pods.told(f"broken-{MANY - 1}", "ModelNotFound"), "the last one is told")
