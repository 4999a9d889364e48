"""When a gate opens, and what a pod is told until then. The order of the models is that of the request."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from model_provisioner.domain.errors import DigestMismatch, RateLimited
from model_provisioner.domain.lifecycle.events import (
    Available,
    Event,
    Failed,
    Lost,
    Progressed,
    Queued,
    Rereading,
    Resolved,
    Started,
    Suspended,
    Verifying,
)
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.modeldownload import ModelDownload, Projector, Spec, Status
from model_provisioner.domain.pods.affinity import Affinity
from model_provisioner.domain.pods.decision import Decision, Holding, Opening, OpenModel, decide
from model_provisioner.domain.pods.gated_pod import GatedPod
from model_provisioner.domain.pods.lookup import Found
from model_provisioner.domain.pods.wanted import Request, Wanted
from model_provisioner.domain.refs.refs import parse
from tests.support.samples import MODEL, NOW, after

REF = parse("hf:a/b:Q4_K_M")
READY: tuple[Event, ...] = (Started(MODEL, 0), Available(MODEL))


def pod(*wanted: Wanted) -> GatedPod:
    request = Request("models.rbee.dev/use", wanted)
    return GatedPod("ai", "server", "u", 1, 0, request, "", "/models", frozenset({"models"}), Affinity())


def download(name: str, *events: Event) -> ModelDownload:
    status = project(after(*events), 1, NOW, Status()) if events else Status()
    return ModelDownload("ai", name, f"uid-{name}", 1, "1", "", False, None, Spec(str(REF)), status)


def decided(
    *found: Found, creates: bool = False, is_confirmed: Callable[[ModelDownload], bool] = lambda _: True
) -> Decision:
    wanted = [one.name if isinstance(one, ModelDownload) else REF for one in found]
    return decide(pod(*wanted), found, is_confirmed, creates=creates)


def held(*found: Found, creates: bool = False) -> Holding:
    decision = decided(*found, creates=creates)
    assert isinstance(decision, Holding)
    return decision


def test_a_gate_opens_when_every_model_is_ready() -> None:
    seeing = replace(MODEL, projector=Projector("hf/a/b/mmproj.gguf"))
    one, two = download("one", *READY), download("two", Started(seeing, 0), Available(seeing))
    assert decided(two, one) == Opening(
        (
            OpenModel("two", MODEL.path, "models", "hf/a/b/mmproj.gguf"),
            OpenModel("one", MODEL.path, "models"),
        )
    )
    assert isinstance(decided(two, download("three", Queued("waiting"))), Holding)


def test_a_ready_model_stays_ready_while_it_is_read_again() -> None:
    assert isinstance(decided(download("one", *READY, Rereading(5, 10))), Opening)


STATES: dict[str, tuple[tuple[Event, ...], str, str, bool]] = {
    "new": ((), "Resolving", "waits: ModelDownload tiny is Resolving", False),
    "queued": ((Queued("2 are before it"),), "Queued", "waits: ModelDownload tiny is Queued: 2 are before it", False),
    "downloading": (
        (Started(MODEL, 0), Progressed(420, 0, 100, 4)),
        "Downloading",
        "waits: ModelDownload tiny is Downloading: 42% · 100 B/s · 4s, of 1000 B",
        False,
    ),
    "verifying": (
        (Started(MODEL, 0), Verifying(0, 1000)),
        "Verifying",
        "waits: ModelDownload tiny is Verifying: 100%, of 1000 B",
        False,
    ),
    "suspended": (
        (Resolved(MODEL), Suspended()),
        "Suspended",
        "waits: ModelDownload tiny is Suspended: ",
        False,
    ),
    "retried": (
        (Started(MODEL, 0), Failed(RateLimited("too many requests"), NOW)),
        "RateLimited",
        "waits: ModelDownload tiny is RateLimited: too many requests",
        False,
    ),
    "stalled": (
        (Started(MODEL, 0), Failed(DigestMismatch("it differs"), None)),
        "DigestMismatch",
        "ModelDownload tiny is DigestMismatch: it differs",
        True,
    ),
    "lost": ((*READY, Lost("it is gone")), "Resolving", "waits: ModelDownload tiny is Resolving: it is gone", False),
}


@pytest.mark.parametrize("state", STATES)
def test_what_a_pod_is_told_of_a_model(state: str) -> None:
    events, reason, message, is_broken = STATES[state]
    holding = held(download("tiny", *events))
    assert (holding.reason, holding.is_broken) == (reason, is_broken)
    assert holding.message.startswith(message)


def test_what_is_broken_comes_first_and_the_others_are_counted() -> None:
    waiting = [download(f"w-{number}", Queued("q")) for number in range(6)]
    holding = held(download("ready", *READY), *waiting, download("bad", Failed(DigestMismatch("it differs"), None)))
    assert (holding.reason, holding.is_broken) == ("DigestMismatch", True)
    assert holding.message.startswith("ModelDownload bad is DigestMismatch: it differs")
    assert holding.message.endswith(
        ". 7 of 8 models are not Ready; the others: ModelDownload w-0 is Queued: q; ModelDownload w-1 is Queued: q; "
        "ModelDownload w-2 is Queued: q; and 3 more"
    )


def test_an_object_that_is_deleted_is_waited_for_only_if_it_is_created_again() -> None:
    going = replace(download("tiny", *READY), deleting=True)
    assert held(going).is_broken
    by_ref = decide(pod(REF), [going], lambda _: True, creates=True)
    assert by_ref == Holding("Terminating", "waits: ModelDownload tiny is being deleted")


def test_a_ref_without_an_object_is_missing_or_broken() -> None:
    assert held(None, creates=True).missing == (REF,)
    assert held(None).reason == "ModelNotFound"
    assert held(None, None, creates=True).missing == (REF, REF)


def test_the_claim_is_told_before_the_model_is_there() -> None:
    elsewhere = download("tiny", Started(replace(MODEL, claim_name="other"), 0))
    assert (held(elsewhere).reason, held(elsewhere).is_broken) == ("WrongClaim", True)


def test_a_ready_object_that_is_not_confirmed_holds() -> None:
    decision = decided(download("tiny", *READY), is_confirmed=lambda _: False)
    assert isinstance(decision, Holding)
    assert (decision.is_unconfirmed, decision.is_broken) == (True, False)
