"""The whole object that users see in each state and after each error, from events to status.

`UPDATE_GOLDENS=1 pytest tests/domain/lifecycle/test_status_goldens.py` writes the goldens again; git shows the changes.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from model_provisioner.domain.errors import (
    AccessDenied,
    AddressNotAllowed,
    AmbiguousModel,
    CatalogUnavailable,
    ClaimNotFound,
    ClaimNotMounted,
    ClaimPending,
    DigestMismatch,
    IncompleteModel,
    InsufficientStorage,
    InternalError,
    InvalidRef,
    LicenseNotAccepted,
    NameResolutionFailed,
    NotGGUF,
    PathConflict,
    ProvisionError,
    RateLimited,
    Retryable,
    SecretNotFound,
    SourceNotFound,
    SourceUnavailable,
    Terminal,
    TLSVerificationFailed,
    TransferStalled,
    UnsupportedSource,
    VolumeChanged,
    VolumeNotWritable,
    VolumeUnsuitable,
    WorkerLost,
    WorkerPending,
    WorkerRefused,
)
from model_provisioner.domain.lifecycle.backoff import pause
from model_provisioner.domain.lifecycle.events import (
    Available,
    Event,
    Failed,
    Lost,
    Progressed,
    Queued,
    ReconcileHandled,
    Rereading,
    Resolved,
    Resolving,
    Started,
    Suspended,
    Terminating,
    VerifyHandled,
    Verifying,
)
from model_provisioner.domain.lifecycle.snapshot import Snapshot, advance
from model_provisioner.domain.lifecycle.state import State
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.lifecycle.suspended_message import Alternative, Alternatives
from model_provisioner.domain.lifecycle.terminating_message import released_message
from model_provisioner.domain.model_facts import FileRecord, GGUFSummary
from model_provisioner.domain.modeldownload import DigestSource, Model, Status
from model_provisioner.domain.store.space import Room
from model_provisioner.kube.resource import API_VERSION, KIND, status_document
from tests.support.conditions import broken_rules
from tests.support.goldens import Document, assert_all_used, assert_golden

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
RETRY = datetime(2026, 1, 1, 1, tzinfo=UTC)
MIB = 1024**2
FOLDER = "hf/acme/tiny"
DIGEST = "sha256:" + "0" * 64


def _model(*files: FileRecord) -> Model:
    size = sum(file.size_bytes for file in files)
    digest = files[0].digest if len(files) == 1 else None
    path = files[0].path
    return Model("models", "store-1", path, f"{size // MIB} MiB", size, DigestSource.SOURCE, files, "c" * 40, digest)


MODEL = _model(FileRecord(f"{FOLDER}/tiny.Q4_K_M.gguf", 600 * MIB, DIGEST))
HEADED = replace(
    MODEL, gguf=GGUFSummary("llama", "Tiny", 1_100_048_384, "Q4_K_M", 2048, "apache-2.0", chat_template=True)
)
STRANGE = replace(
    MODEL,
    gguf=GGUFSummary("llama", parameters=1_100_048_384, unknown_tensor_types=(137, 144), base_model="acme/tiny"),
)
SPLIT = _model(
    FileRecord(f"{FOLDER}/tiny-00001-of-00002.gguf", 400 * MIB, DIGEST),
    FileRecord(f"{FOLDER}/tiny-00002-of-00002.gguf", 200 * MIB, "sha256:" + "1" * 64),
)

OTHERS = Alternatives((Alternative("Q2_K", 430 * MIB), Alternative("Q8_0", 1100 * MIB)), 3)

ASKING: list[Event] = [Resolving("asking what hf:acme/tiny is")]
RESOLVED: list[Event] = [*ASKING, Resolved(MODEL)]
STARTED: list[Event] = [*RESOLVED, Queued("1 of 1 in the queue"), Started(MODEL, 0)]
FETCHING: list[Event] = [*STARTED, Progressed(150 * MIB, 0, 50 * MIB, 9)]
FETCHED: list[Event] = [*FETCHING, Verifying(300 * MIB, 600 * MIB)]
READY: list[Event] = [*FETCHED, Available(HEADED), VerifyHandled(None)]

STATES: dict[str, list[Event]] = {
    "new": [],
    "resolving": ASKING,
    "queued": [*RESOLVED, Queued("2 of 5 in the queue")],
    "downloading": STARTED,
    "downloading-on": FETCHING,
    "downloading-standstill": [*FETCHING, Progressed(150 * MIB, 0, 0, None)],
    "downloading-split": [*ASKING, Resolved(SPLIT), Started(SPLIT, 0), Progressed(500 * MIB, 0, 50 * MIB, 2)],
    "downloading-resumed": [*FETCHING, Failed(SourceUnavailable("down"), RETRY), Started(MODEL, 128 * MIB)],
    "downloading-anew": [*FETCHING, Failed(DigestMismatch("differs"), None), Started(MODEL, 0)],
    "downloading-again": [*FETCHING, Progressed(MIB, 1, 50 * MIB, 12)],
    "verifying": FETCHED,
    "suspended-before-it-began": [*RESOLVED, Suspended(Room(600 * MIB, 42 * 1024 * MIB), OTHERS)],
    "suspended-amid-bytes": [*FETCHING, Suspended()],
    "suspended-unresolved": [Suspended()],
    "available": READY,
    "available-with-unknown-tensor-types": [*FETCHED, Available(STRANGE), Rereading(450 * MIB, 600 * MIB)],
    "available-split": [*ASKING, Resolved(SPLIT), Started(SPLIT, 0), Available(SPLIT)],
    "available-without-fetching": [*RESOLVED, Available(HEADED)],
    "available-rereading": [*READY, Rereading(450 * MIB, 600 * MIB)],
    "available-reread": [*READY, Rereading(450 * MIB, 600 * MIB), VerifyHandled("2026-01-01T00:30:00Z")],
    "available-while-suspended": [*READY, Suspended()],
    "available-in-trouble": [*READY, Failed(VolumeNotWritable("the volume can not be read"), RETRY)],
    "available-retried": [*READY, ReconcileHandled("2026-01-01T00:30:00Z")],
    "lost": [*READY, Lost(f"{MODEL.path} is gone from the volume; it is fetched again")],
    "lost-and-fetched-again": [*READY, Lost(f"{MODEL.path} is gone from the volume"), Started(MODEL, 0)],
    "terminating": [*READY, Terminating(released_message(1, ["example.com/backup"]))],
    "another-volume-accepted": [
        *READY,
        Lost("another volume is mounted", VolumeChanged.__name__),
        Failed(VolumeChanged("another volume is mounted"), RETRY),
        ReconcileHandled("2026-01-01T00:30:00Z"),
    ],
}

ERRORS: dict[type[ProvisionError], list[Event]] = {
    InvalidRef: ASKING,
    UnsupportedSource: ASKING,
    ClaimNotMounted: ASKING,
    SecretNotFound: ASKING,
    AddressNotAllowed: ASKING,
    NameResolutionFailed: ASKING,
    TLSVerificationFailed: ASKING,
    RateLimited: ASKING,
    SourceNotFound: ASKING,
    AccessDenied: ASKING,
    LicenseNotAccepted: ASKING,
    AmbiguousModel: ASKING,
    IncompleteModel: ASKING,
    PathConflict: RESOLVED,
    InsufficientStorage: RESOLVED,
    VolumeNotWritable: RESOLVED,
    VolumeUnsuitable: RESOLVED,
    SourceUnavailable: FETCHING,
    TransferStalled: FETCHING,
    NotGGUF: FETCHING,
    WorkerPending: ASKING,
    ClaimNotFound: ASKING,
    ClaimPending: ASKING,
    WorkerRefused: ASKING,
    WorkerLost: FETCHING,
    InternalError: FETCHING,
    DigestMismatch: FETCHED,
    CatalogUnavailable: FETCHED,
    VolumeChanged: [*READY, Lost("another volume is mounted", VolumeChanged.__name__)],
}
"""The stage in which each error occurs."""


def _failed(kind: type[ProvisionError]) -> Failed:
    error = kind("what happened, to what, and what to do next")
    return Failed(error, None if pause(error, 1, 0) is None else RETRY)


CASES = STATES | {f"error-{kind.__name__}": [*before, _failed(kind)] for kind, before in ERRORS.items()}


def _object(events: list[Event]) -> Document:
    """The object after `events`, one per minute. As in the operator, the status is written after each."""
    snapshot, now = Snapshot(), BEGIN
    status = project(snapshot, 1, now, Status())
    for event in events:
        now += timedelta(minutes=1)
        snapshot = advance(snapshot, event, now)
        status = project(snapshot, 1, now, status)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": "tiny", "namespace": "models", "generation": 1},
        "spec": {"modelRef": "hf:acme/tiny", "suspend": any(isinstance(event, Suspended) for event in events)},
        "status": status_document(status),
    }


@pytest.mark.parametrize("case", CASES)
def test_the_status_is_the_golden(case: str) -> None:
    document = _object(CASES[case])
    assert broken_rules(document) == []
    assert_golden("status", case, document)


def test_every_golden_of_a_status_is_used() -> None:
    assert_all_used("status", CASES)


def test_every_state_and_every_error_has_a_golden() -> None:
    roots = (Retryable, Terminal)
    errors = {kind.__name__ for root in roots for kind in root.__subclasses__()}
    shown = {_object(events)["status"]["conditions"][0]["reason"] for events in CASES.values()}
    assert shown == errors | set(State)
