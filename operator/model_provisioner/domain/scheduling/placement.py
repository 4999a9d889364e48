"""Where the worker pod of a claim may run, and as which user: by the claim, and by the pods that use it. Pure.

A volume that one node can mount is mounted where a running pod uses it; a claim that does not exist, is being deleted,
or is in use by the only pod that may use it, gets no worker pod now. `controller.workers.pods.placements` reads the
claim and the pods; `controller.workers.pods.manifests` makes the fields of a pod of it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from model_provisioner.domain.annotations import FS_GROUP, RUN_AS_GROUP, RUN_AS_USER
from model_provisioner.domain.errors import ClaimNotFound, ClaimPending, WorkerPending, WorkerRefused
from model_provisioner.domain.store.claim import ONE_POD, is_on_one_node

_USERS = {RUN_AS_USER: "runAsUser", RUN_AS_GROUP: "runAsGroup", FS_GROUP: "fsGroup"}
"""The annotation of a claim for each field of a pod's security context."""
_ID = re.compile(r"[0-9]{1,10}")
_LARGEST_ID = 2**31 - 1  # of Kubernetes (ValidateSecurityContext)
_SHOWN = 20  # characters of a wrong value


@dataclass(frozen=True, slots=True)
class ClaimState:
    """What the API server has of a claim. `access_modes` are those of its volume, else those that it asks for.

    `selected_node` is where its volume is being made: the scheduler's choice for the first pod that uses it.
    """

    access_modes: frozenset[str]
    is_bound: bool = True
    is_being_deleted: bool = False
    selected_node: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClaimUser:
    """A pod on a node that mounts the claim. `is_ending`: it is being deleted."""

    pod: str
    node: str
    is_running: bool = True
    is_ending: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a worker pod runs. `node` is None if the scheduler may choose it; `reason` is a clause for messages.

    `users` are fields of the pod's security context: `runAsUser`, `runAsGroup`, `fsGroup`.
    """

    node: str | None = None
    reason: str = ""
    users: Mapping[str, int] = field(default_factory=dict)


def check_claim(name: str, claim: ClaimState | None, *, wait_for_first_consumer: bool) -> Mapping[str, int]:
    """The users that `claim` asks for; None is one that does not exist.

    Raises ClaimNotFound if there is none to use, ClaimPending if it has no volume and is to get one by another pod,
    WorkerRefused if an annotation of it is no number of a user.
    """
    if claim is None:
        raise ClaimNotFound(f"claim {name} does not exist in this namespace; create it")
    if claim.is_being_deleted:
        raise ClaimNotFound(f"claim {name} is being deleted; create it again when it is gone")
    users = {ours: _user(name, key, claim.annotations[key]) for key, ours in _USERS.items() if key in claim.annotations}
    if wait_for_first_consumer and not claim.is_bound:
        raise ClaimPending(
            f"claim {name} has no volume yet; start a pod that uses it: with workers.waitForFirstConsumer, "
            "the worker pod waits for that"
        )
    return users


def needs_pods(claim: ClaimState) -> bool:
    """Whether the pods that use `claim` matter for its placement."""
    return is_on_one_node(claim.access_modes)


def place(name: str, claim: ClaimState, pods: Iterable[ClaimUser], users: Mapping[str, int]) -> Placement:
    """Where the worker pod of `claim` runs. `pods` are those that use it, without its worker pod.

    Raises WorkerPending if only one pod may use the claim, and another does.
    """
    if not is_on_one_node(claim.access_modes):
        return Placement(users=users, reason=_binding(name, claim))
    first = min(pods, key=_preference, default=None)
    if first is None:
        if claim.is_bound or claim.selected_node is None:
            return Placement(users=users, reason=_binding(name, claim))
        reason = f"the scheduler has chosen node {claim.selected_node} for claim {name}"
        return Placement(claim.selected_node, reason, users)
    if ONE_POD in claim.access_modes:
        raise WorkerPending(
            f"claim {name} is {ONE_POD}, and pod {first.pod} uses it; the worker pod waits until that has ended"
        )
    return Placement(
        first.node, f"claim {name} is ReadWriteOnce, and pod {first.pod} uses it on node {first.node}", users
    )


def _binding(name: str, claim: ClaimState) -> str:
    return "" if claim.is_bound else f"claim {name} has no volume yet, and gets it where the worker pod is scheduled"


def _preference(pod: ClaimUser) -> tuple[bool, bool, str]:
    """A pod that stays comes first."""
    return pod.is_ending, not pod.is_running, pod.pod


def _user(name: str, key: str, value: str) -> int:
    what = f"annotation {key} of claim {name}"
    if not _ID.fullmatch(value) or int(value) > _LARGEST_ID:
        raise WorkerRefused(f"{what} is {value[:_SHOWN]!r}, not a number from 1 to {_LARGEST_ID}; correct it")
    if int(value) == 0:
        raise WorkerRefused(f"{what} is 0: worker pods do not run as root, which Pod Security restricted refuses")
    return int(value)
