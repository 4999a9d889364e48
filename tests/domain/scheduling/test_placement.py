"""Where the worker pod of a claim runs, and as which user."""

import pytest

from model_provisioner.domain.annotations import FS_GROUP, RUN_AS_GROUP, RUN_AS_USER
from model_provisioner.domain.errors import ClaimNotFound, ClaimPending, ProvisionError, WorkerPending, WorkerRefused
from model_provisioner.domain.scheduling.placement import (
    ClaimState,
    ClaimUser,
    Placement,
    check_claim,
    needs_pods,
    place,
)

RWO = frozenset({"ReadWriteOnce"})
RWOP = frozenset({"ReadWriteOncePod"})
RWX = frozenset({"ReadWriteMany"})
BOTH = frozenset({"ReadWriteOnce", "ReadWriteMany"})

UNBOUND = "claim c has no volume yet, and gets it where the worker pod is scheduled"
ON_N1 = "claim c is ReadWriteOnce, and pod {} uses it on node n1"
WEB = ClaimUser("web", "n1")

PLACES: list[tuple[str, ClaimState, list[ClaimUser], str | None, str]] = [
    ("any node can mount it", ClaimState(RWX), [WEB], None, ""),
    ("any node can mount it, among others", ClaimState(BOTH), [WEB], None, ""),
    ("not in use", ClaimState(RWO), [], None, ""),
    ("in use", ClaimState(RWO), [WEB], "n1", ON_N1.format("web")),
    (
        "a running pod comes first",
        ClaimState(RWO),
        [ClaimUser("a", "n2", is_running=False), WEB],
        "n1",
        ON_N1.format("web"),
    ),
    (
        "a pod that stays comes first",
        ClaimState(RWO),
        [ClaimUser("a", "n2", is_ending=True), WEB],
        "n1",
        ON_N1.format("web"),
    ),
    ("an ending pod holds it", ClaimState(RWO), [ClaimUser("a", "n1", is_ending=True)], "n1", ON_N1.format("a")),
    ("one pod, not in use", ClaimState(RWOP), [], None, ""),
    ("no volume", ClaimState(RWO, is_bound=False), [], None, UNBOUND),
    ("no volume, for any node", ClaimState(RWX, is_bound=False), [], None, UNBOUND),
    (
        "its volume is being made",
        ClaimState(RWO, is_bound=False, selected_node="n3"),
        [],
        "n3",
        "the scheduler has chosen node n3 for claim c",
    ),
    ("its volume was made there", ClaimState(RWO, selected_node="n3"), [], None, ""),
]


@pytest.mark.parametrize(
    ("claim", "pods", "node", "reason"), [row[1:] for row in PLACES], ids=[row[0] for row in PLACES]
)
def test_a_worker_pod_runs_where_the_volume_can_be(
    claim: ClaimState, pods: list[ClaimUser], node: str | None, reason: str
) -> None:
    assert place("c", claim, pods, {}) == Placement(node, reason)
    assert place("c", claim, pods[::-1], {}) == Placement(node, reason), "the order of pods does not matter"


def test_a_claim_for_one_pod_waits_for_the_pod_that_has_it() -> None:
    with pytest.raises(WorkerPending, match="claim c is ReadWriteOncePod, and pod web uses it"):
        place("c", ClaimState(RWOP), [WEB], {})


@pytest.mark.parametrize(("modes", "matter"), [(RWO, True), (RWOP, True), (RWX, False), (BOTH, False)])
def test_pods_matter_for_claims_of_one_node(modes: frozenset[str], matter: bool) -> None:
    assert needs_pods(ClaimState(modes)) is matter


def claim(**annotations: str) -> ClaimState:
    return ClaimState(
        RWX, annotations={f"models.rbee.dev/{key.replace('_', '-')}": text for key, text in annotations.items()}
    )


NONE: list[tuple[ClaimState | None, bool, type[ProvisionError], str]] = [
    (None, False, ClaimNotFound, "claim c does not exist"),
    (ClaimState(RWX, is_being_deleted=True), False, ClaimNotFound, "claim c is being deleted"),
    (ClaimState(RWX, is_bound=False), True, ClaimPending, "workers.waitForFirstConsumer"),
    (claim(run_as_user="0"), False, WorkerRefused, f"{RUN_AS_USER} of claim c is 0: worker pods do not run as root"),
    (claim(run_as_group="00"), False, WorkerRefused, f"{RUN_AS_GROUP} of claim c is 0"),
    (claim(fs_group="-1"), False, WorkerRefused, f"{FS_GROUP} of claim c is '-1', not a number from 1"),
    (claim(fs_group=""), False, WorkerRefused, "is '', not a number"),
    (claim(fs_group="1000 "), False, WorkerRefused, "not a number"),
    (claim(fs_group="²"), False, WorkerRefused, "not a number"),
    (claim(run_as_user="2147483648"), False, WorkerRefused, "not a number from 1 to 2147483647"),
    (claim(run_as_user="9" * 5000), False, WorkerRefused, f"is '{'9' * 20}', not a number"),
]


@pytest.mark.parametrize(("state", "waits", "error", "message"), NONE)
def test_there_is_no_worker_pod_for_such_a_claim(
    state: ClaimState | None, waits: bool, error: type[ProvisionError], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_claim("c", state, wait_for_first_consumer=waits)


def test_a_claim_names_the_users_of_its_worker_pod() -> None:
    asked = claim(run_as_user="1000", run_as_group="2147483647", fs_group="1", other="x")
    users = check_claim("c", asked, wait_for_first_consumer=True)
    assert users == {"runAsUser": 1000, "runAsGroup": 2147483647, "fsGroup": 1}
    assert place("c", asked, (), users).users == users


def test_a_claim_without_annotations_names_none() -> None:
    assert check_claim("c", ClaimState(RWX, is_bound=False), wait_for_first_consumer=False) == {}
