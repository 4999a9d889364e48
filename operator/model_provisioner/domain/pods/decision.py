"""Decides whether the gate of a pod opens, and says what it waits for otherwise.

Called by `controller.gates.namespace_gates` whenever the pod or one of its models changes. The decision depends on
nothing but its arguments, so a restarted operator comes to the same one. The patch is made in `domain.pods.patch`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model_provisioner.domain.annotations import CLAIM
from model_provisioner.domain.lifecycle.state import State
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.pods.gated_pod import GatedPod
from model_provisioner.domain.pods.lookup import Ambiguous, Found, claim_of
from model_provisioner.domain.pods.wanted import Wanted
from model_provisioner.domain.refs.model_ref import ModelRef

_SHOWN_OTHERS = 3
_MOVING = frozenset({State.DOWNLOADING, State.VERIFYING})

IsConfirmed = Callable[[ModelDownload], bool]
"""Whether the operator lists a Ready object in the catalog: an editor can write any status."""


@dataclass(frozen=True, slots=True)
class OpenModel:
    """One model of a pod that may start. `path` and `projector` are relative to the root of the claim `claim`."""

    name: str
    path: str
    claim: str
    projector: str | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """Every model is Ready: the gate opens."""

    models: tuple[OpenModel, ...]


@dataclass(frozen=True, slots=True)
class Holding:
    """The pod goes on waiting. `reason` and `message` are those of its Event.

    With `is_broken`, it waits until a person changes something. `missing` are the refs for which an object is to be
    created. With `is_unconfirmed`, a model is Ready, and the operator has not read its file yet.
    """

    reason: str
    message: str
    is_broken: bool = False
    missing: tuple[ModelRef, ...] = ()
    is_unconfirmed: bool = False


Decision = Opening | Holding


def decide(pod: GatedPod, found: Sequence[Found], is_confirmed: IsConfirmed, *, creates: bool) -> Decision:
    """`found` has what each model of the pod's request was found as.

    `creates` says whether the operator creates an object for a ref that no object has.
    """
    if pod.problem:
        return Holding(pod.problem.reason, pod.problem.message, is_broken=True)
    each = [
        _missing(pod, wanted, creates=creates) if what is None else _judged(pod, wanted, what, is_confirmed)
        for wanted, what in zip(pod.request.models, found, strict=True)
    ]
    holding = [one for one in each if isinstance(one, Holding)]
    if holding:
        return _combined(holding, len(each))
    return Opening(tuple(one for one in each if isinstance(one, OpenModel)))


def _missing(pod: GatedPod, wanted: Wanted, *, creates: bool) -> Holding:
    if isinstance(wanted, str):
        message = (
            f"there is no ModelDownload {wanted} in namespace {pod.namespace}: create it, or correct the annotation "
            f"{pod.request.annotation}"
        )
        return Holding("ModelNotFound", message, is_broken=True)
    if creates:
        return Holding(State.RESOLVING, f"a ModelDownload of {wanted} is being created", missing=(wanted,))
    message = f"no ModelDownload in namespace {pod.namespace} has the ref {wanted}: create one"
    return Holding("ModelNotFound", message, is_broken=True)


def _judged(
    pod: GatedPod, wanted: Wanted, found: ModelDownload | Ambiguous, is_confirmed: IsConfirmed
) -> OpenModel | Holding:
    if isinstance(found, Ambiguous):
        message = f"{wanted} can be any of the ModelDownloads {', '.join(found.names)}: name one of them instead"
        return Holding("AmbiguousModel", message, is_broken=True)
    if found.deleting:
        message = f"ModelDownload {found.name} is being deleted"
        return Holding(State.TERMINATING, message, is_broken=isinstance(wanted, str))
    claim = claim_of(found)
    if claim is not None and claim not in pod.claims:
        return Holding("WrongClaim", _wrong_claim(pod, found.name, claim), is_broken=True)
    model = found.status.model
    if not (found.status.ready and model):
        return _waiting(found)
    if not is_confirmed(found):
        message = f"ModelDownload {found.name} is Ready, and its volume has not confirmed that yet"
        return Holding(State.VERIFYING, message, is_unconfirmed=True)
    return OpenModel(found.name, model.path, model.claim_name, model.projector_path)


def _wrong_claim(pod: GatedPod, name: str, claim: str) -> str:
    mounted = f"only {', '.join(sorted(pod.claims))}" if pod.claims else "no claim"
    return (
        f"ModelDownload {name} is on the claim {claim}, and the pod mounts {mounted} at {pod.mount_path}: mount "
        f"{claim} there, or, if the annotation models.rbee.dev/use adds the volume, name it in {CLAIM}"
    )


def _waiting(download: ModelDownload) -> Holding:
    ready = download.status.condition("Ready")
    reason, message = (ready.reason, ready.message) if ready else (State.RESOLVING, "")
    model, progress = download.status.model, download.status.progress
    text = f"ModelDownload {download.name} is {reason}"
    if reason in _MOVING and model and progress:
        return Holding(reason, f"{text}: {progress.summary}, of {model.size}")
    return Holding(reason, f"{text}: {message}" if message else text, is_broken=download.status.stalled)


def _combined(holding: Sequence[Holding], models: int) -> Holding:
    """One decision of those of several models: what is broken comes first."""
    first, *others = sorted(holding, key=lambda one: not one.is_broken)
    message = first.message if first.is_broken else f"waits: {first.message}"
    if others:
        shown = "; ".join(one.message for one in others[:_SHOWN_OTHERS])
        more = f"; and {len(others) - _SHOWN_OTHERS} more" if len(others) > _SHOWN_OTHERS else ""
        message = f"{message}. {len(holding)} of {models} models are not Ready; the others: {shown}{more}"
    return Holding(
        reason=first.reason,
        message=message,
        is_broken=first.is_broken,
        missing=tuple(ref for one in holding for ref in one.missing),
        is_unconfirmed=any(one.is_unconfirmed for one in holding),
    )
