"""What can happen to a download, one class per kind of event.

`controller.reconcile` and `controller.transfers` make the events; `domain.lifecycle.snapshot` applies them. No rule
belongs here: an event only carries what was observed.
"""

from dataclasses import dataclass
from datetime import datetime

from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.lifecycle.state import State
from model_provisioner.domain.lifecycle.suspended_message import NO_ALTERNATIVES, Alternatives
from model_provisioner.domain.modeldownload import Model
from model_provisioner.domain.store.space import Room


@dataclass(frozen=True, slots=True)
class Resolving:
    """The ref is being resolved at the source; `message` is for users."""

    message: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """The ref was resolved to `model`."""

    model: Model


@dataclass(frozen=True, slots=True)
class Redefined:
    """The spec now names another model."""


@dataclass(frozen=True, slots=True)
class Queued:
    """The download waits; `message` says for what."""

    message: str


@dataclass(frozen=True, slots=True)
class Suspended:
    """The user suspended the download; its bytes are kept.

    `room` and `alternatives` are known only if the ref was resolved just before.
    """

    room: Room | None = None
    alternatives: Alternatives = NO_ALTERNATIVES


@dataclass(frozen=True, slots=True)
class Started:
    """A worker started the transfer; `bytes` of it are already durable."""

    model: Model
    bytes: int


@dataclass(frozen=True, slots=True)
class Progressed:
    """`bytes` are written so far. The speed is 0 if no bytes arrive; bytes were discarded `restarts` times.

    `wait` says what the transfer waits for if no byte comes. `origin` says where the bytes come from, as a clause;
    empty if that is the source.
    """

    bytes: int
    restarts: int
    bytes_per_second: int | None
    eta_seconds: int | None
    wait: Wait | None = None
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Verifying:
    """All `total` bytes are present; `bytes` of them are hashed."""

    bytes: int
    total: int


@dataclass(frozen=True, slots=True)
class Available:
    """Every file is verified, durable at its path, and in the catalog. `origin` as in Progressed."""

    model: Model
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Rereading:
    """The published files are verified again on request; `bytes` of `total` are read. They stay ready meanwhile."""

    bytes: int
    total: int


@dataclass(frozen=True, slots=True)
class VerifyHandled:
    """All published files have the right content. `at` is the annotation value that requested it, None if none did."""

    at: str | None


@dataclass(frozen=True, slots=True)
class FilesSeen:
    """A worker pod has seen every published file now. `volume_name` is that of its claim, None if not known."""

    volume_name: str | None


@dataclass(frozen=True, slots=True)
class Lost:
    """A published file is missing or has other content; `reason` is the new reason of the Ready condition."""

    message: str
    reason: str = State.RESOLVING


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt ended with an error. `retry_time` is None if the operator does not retry it."""

    error: ProvisionError
    retry_time: datetime | None


@dataclass(frozen=True, slots=True)
class ReconcileHandled:
    """The annotation value `at`, which requests a retry, was handled."""

    at: str | None


@dataclass(frozen=True, slots=True)
class Terminating:
    """The object is being deleted and has left the catalog; `message` says what became of its files."""

    message: str


Event = (
    Resolving
    | Resolved
    | Redefined
    | Queued
    | Suspended
    | Started
    | Progressed
    | Verifying
    | Available
    | Rereading
    | VerifyHandled
    | FilesSeen
    | Lost
    | Failed
    | ReconcileHandled
    | Terminating
)
