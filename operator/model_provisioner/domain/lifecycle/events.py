"""What can happen to a download, one class per kind of event.

`controller.reconcile` and `controller.transfers` make the events; `domain.lifecycle.snapshot` applies them. No rule
belongs here: an event only carries what was observed.
"""

from dataclasses import dataclass
from datetime import datetime

from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.lifecycle.state import State
from model_provisioner.domain.lifecycle.suspended_message import NO_ALTERNATIVES, Alternatives
from model_provisioner.domain.modeldownload import Model
from model_provisioner.domain.store.space import Room


@dataclass(frozen=True, slots=True)
class Resolving:
    """The source is asked what the ref means."""

    message: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """The source has answered."""

    model: Model


@dataclass(frozen=True, slots=True)
class Redefined:
    """Another model is asked for than the one that all of this is about."""


@dataclass(frozen=True, slots=True)
class Queued:
    """Nothing runs yet; `message` says what is waited for."""

    message: str


@dataclass(frozen=True, slots=True)
class Suspended:
    """The user asked for a pause; bytes are kept. `room` and `alternatives` are known where it has just resolved."""

    room: Room | None = None
    alternatives: Alternatives = NO_ALTERNATIVES


@dataclass(frozen=True, slots=True)
class Started:
    """A worker has taken the plan; `bytes` of it are durable already."""

    model: Model
    bytes: int


@dataclass(frozen=True, slots=True)
class Progressed:
    """`bytes` are written, at `bytes_per_second` (0: standstill), of a transfer restarted `restarts` times."""

    bytes: int
    restarts: int
    bytes_per_second: int | None
    eta_seconds: int | None


@dataclass(frozen=True, slots=True)
class Verifying:
    """Every byte is here, all `total` of them; `bytes` are hashed."""

    bytes: int
    total: int


@dataclass(frozen=True, slots=True)
class Available:
    """Every file is durable at its path, verified, and in the catalog."""

    model: Model


@dataclass(frozen=True, slots=True)
class Rereading:
    """The published files are read again, because somebody asked for it; they count as right until they are not."""

    bytes: int
    total: int


@dataclass(frozen=True, slots=True)
class VerifyHandled:
    """Every published byte was found to be right, after the annotation `at` asked for it (None: nobody did)."""

    at: str | None


@dataclass(frozen=True, slots=True)
class Lost:
    """A file that was published is no longer there, or no longer what it was: `reason` says which."""

    message: str
    reason: str = State.RESOLVING


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt ended with an error; `retry_time` None means that it is not tried again by itself."""

    error: ProvisionError
    retry_time: datetime | None


@dataclass(frozen=True, slots=True)
class ReconcileHandled:
    """The annotation that asks for another try has been seen."""

    at: str | None


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
    | Lost
    | Failed
    | ReconcileHandled
)
