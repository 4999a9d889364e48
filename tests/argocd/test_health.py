"""The health that Argo CD shows for an object in every state; the goldens of the status are the input."""

import pytest

from model_provisioner.domain.errors import Terminal
from tests.argocd.scripts import Document, run_file
from tests.support.conditions import condition, kstatus
from tests.support.goldens import read_goldens

GOLDENS = {f"{kind}/{case}": golden for kind in ("status", "cluster") for case, golden in read_goldens(kind).items()}

EXPECTED = {
    "Healthy": """
        status/available status/available-reread status/available-rereading status/available-retried
        status/available-split status/available-while-suspended status/available-in-trouble
        status/available-without-fetching status/available-with-unknown-tensor-types
        cluster/ready cluster/ready-digest-computed cluster/ready-local cluster/ready-split
    """,
    "Progressing": """
        status/new status/resolving status/queued status/verifying status/lost status/lost-and-fetched-again
        status/downloading status/downloading-again status/downloading-anew status/downloading-on
        status/downloading-resumed status/downloading-split status/downloading-standstill
        status/error-CatalogUnavailable status/error-InsufficientStorage status/error-InternalError
        status/error-NameResolutionFailed status/error-RateLimited status/error-SourceUnavailable
        status/error-TransferStalled status/terminating
        status/error-ClaimNotFound status/error-ClaimPending
        status/error-WorkerLost status/error-WorkerPending status/error-WorkerRefused
        cluster/endpoint-busy cluster/endpoint-limits cluster/endpoint-unknown cluster/volume-too-small
    """,
    "Degraded": """
        status/another-volume-accepted
        status/error-AccessDenied status/error-AddressNotAllowed status/error-AmbiguousModel
        status/error-ClaimNotMounted status/error-DigestMismatch status/error-IncompleteModel status/error-InvalidRef
        status/error-LicenseNotAccepted status/error-NotGGUF status/error-PathConflict status/error-SecretNotFound
        status/error-SourceNotFound status/error-TLSVerificationFailed status/error-UnsupportedSource
        status/error-VolumeChanged status/error-VolumeNotWritable status/error-VolumeUnsuitable
        cluster/ambiguous cluster/claim-not-mounted cluster/digest-mismatch cluster/digest-mismatch-at-the-end
        cluster/digest-of-many-files cluster/endpoint-not-allowed cluster/endpoint-not-verified cluster/gated
        cluster/gated-to-this-account cluster/link-in-the-way cluster/not-found cluster/not-gguf cluster/part-missing
        cluster/quantisation-not-found cluster/raw-pieces cluster/secret-missing cluster/secret-without-token
        cluster/token-refused cluster/volume-away cluster/volume-exchanged cluster/volume-of-a-later-version
    """,
    "Suspended": """
        status/suspended-amid-bytes status/suspended-before-it-began status/suspended-unresolved cluster/suspended
    """,
}
HEALTH = {golden: health for health, goldens in EXPECTED.items() for golden in goldens.split()}


def test_every_golden_has_a_health() -> None:
    assert HEALTH.keys() == GOLDENS.keys()


@pytest.mark.parametrize("golden", GOLDENS)
def test_the_health_is_that_of_the_conditions(golden: str) -> None:
    ready = condition(GOLDENS[golden], "Ready")
    assert ready is not None
    assert run_file("health.lua", GOLDENS[golden]) == {"status": HEALTH[golden], "message": ready["message"]}


def test_every_terminal_error_is_degraded() -> None:
    errors = {f"status/error-{kind.__name__}" for kind in Terminal.__subclasses__()}
    assert {HEALTH[error] for error in errors} == {"Degraded"}


AS_KSTATUS = {
    "Healthy": {"Current"},
    "Degraded": {"Failed"},
    "Progressing": {"InProgress", "Terminating"},
    "Suspended": {"InProgress"},  # kstatus has no such state
}
LATER: dict[str, Document] = {
    "now": {},
    "after an edit": {"generation": 2},
    "while it is deleted": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
}


@pytest.mark.parametrize("change", LATER.values(), ids=LATER)
def test_it_agrees_with_what_helm_and_flux_wait_for(change: Document) -> None:
    documents = {name: one | {"metadata": one["metadata"] | change} for name, one in GOLDENS.items()}
    healths = {name: run_file("health.lua", document)["status"] for name, document in documents.items()}
    assert {n: health for n, health in healths.items() if kstatus(documents[n]) not in AS_KSTATUS[health]} == {}
    assert set(healths.values()) == ({"Progressing"} if change else set(AS_KSTATUS))


READY = GOLDENS["status/available"]
UNSEEN = "waiting for the operator to see the latest change"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({key: value for key, value in READY.items() if key != "status"}, UNSEEN),
        (READY | {"status": {"observedGeneration": -1}}, UNSEEN),
        (READY | {"metadata": {**READY["metadata"], "generation": 2}}, UNSEEN),
        (READY | {"metadata": {**READY["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}, "being deleted"),
    ],
    ids=["no status", "default status", "not seen since a change", "being deleted"],
)
def test_what_the_conditions_do_not_tell_is_progressing(document: Document, message: str) -> None:
    assert run_file("health.lua", document) == {"status": "Progressing", "message": message}


@pytest.mark.parametrize("kind", ["Stalled", "Reconciling"])
def test_a_condition_that_is_false_counts_as_absent(kind: str) -> None:
    status = READY["status"]
    false = {"type": kind, "status": "False", "reason": "Available", "message": "nothing"}
    document = READY | {"status": status | {"conditions": [false, *status["conditions"]]}}
    assert run_file("health.lua", document)["status"] == "Healthy"


@pytest.mark.parametrize(("kind", "health"), [("Stalled", "Degraded"), ("Reconciling", "Progressing")])
def test_a_condition_that_is_true_counts_more_than_ready(kind: str, health: str) -> None:
    status = READY["status"]
    true = {"type": kind, "status": "True", "reason": "Other", "message": "of its own"}
    document = READY | {"status": status | {"conditions": [*status["conditions"], true]}}
    assert run_file("health.lua", document) == {"status": health, "message": "of its own"}
