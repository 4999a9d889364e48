"""What a worker answers to the requests of `worker_protocol.requests`."""

from dataclasses import dataclass
from typing import Literal

from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.lifecycle.suspended_message import NO_ALTERNATIVES, Alternatives
from model_provisioner.domain.modeldownload import FileRecord, GGUFSummary
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.store.plan import Plan
from model_provisioner.domain.store.space import Usage


@dataclass(frozen=True, slots=True)
class ResolvedAnswer:
    """The plan of a ref; `alternatives` are other models of the same repository."""

    id: str
    plan: Plan
    alternatives: Alternatives = NO_ALTERNATIVES
    event: Literal["resolved"] = "resolved"


@dataclass(frozen=True, slots=True)
class Located:
    """Where the bytes of a file are for a while. It is a secret."""

    id: str
    address: Address
    event: Literal["located"] = "located"


@dataclass(frozen=True, slots=True)
class AddressWanted:
    """A Fetch needs the address of the file at `path` of its plan, which is `signed`. Answered by AddressGiven."""

    id: str
    path: str
    event: Literal["address_wanted"] = "address_wanted"


@dataclass(frozen=True, slots=True)
class Settled:
    """`plan` has the final paths. `durable_bytes` of it are in parts or already published."""

    id: str
    store_id: str
    plan: Plan
    durable_bytes: int
    event: Literal["settled"] = "settled"


@dataclass(frozen=True, slots=True)
class Progress:
    """`bytes` of `total` are written. `restarts` counts how often journalled bytes were discarded.

    `received` is the number of bytes from the source since the fetch began, including discarded ones. `wait` says what
    the fetch waits for if no byte comes.
    """

    id: str
    bytes: int
    total: int
    restarts: int
    received: int
    wait: Wait | None = None
    event: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class VerifyingAnswer:
    """All bytes are present; `bytes` of `total` are hashed. `received` as in Progress, 0 for a Verify."""

    id: str
    bytes: int
    total: int
    received: int = 0
    event: Literal["verifying"] = "verifying"


@dataclass(frozen=True, slots=True)
class Published:
    """All files are published. `received` as in Progress.

    `read`: every byte was read and hashed; False if the digest of a file was taken from a record.
    """

    id: str
    files: tuple[FileRecord, ...]
    gguf: GGUFSummary
    received: int
    read: bool = False
    event: Literal["published"] = "published"


@dataclass(frozen=True, slots=True)
class RecordedReady:
    """The uids of the objects whose record was written. `without` are those of the objects that are without one."""

    id: str
    uids: tuple[str, ...]
    without: tuple[str, ...] = ()
    event: Literal["recorded_ready"] = "recorded_ready"


@dataclass(frozen=True, slots=True)
class Checked:
    """`missing` are the paths of files that do not exist or have another size.

    `unattested` are the other paths whose content the holder's record does not confirm. `corrupt` are the ones
    of these that a record marks as corrupt.
    """

    id: str
    missing: tuple[str, ...]
    unattested: tuple[str, ...] = ()
    corrupt: tuple[str, ...] = ()
    event: Literal["checked"] = "checked"


@dataclass(frozen=True, slots=True)
class Identified:
    """`store_id` is that of the mounted store, None if there is none; `uids` are those that have a record there."""

    id: str
    store_id: str | None
    uids: tuple[str, ...] = ()
    event: Literal["identified"] = "identified"


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes: `needed` are still to be written, `free` may be written (None: unknown)."""

    id: str
    needed: int
    free: int | None
    event: Literal["measured"] = "measured"


@dataclass(frozen=True, slots=True)
class Verified:
    """`wrong` are the paths of files that do not exist, or have another size or digest."""

    id: str
    wrong: tuple[str, ...]
    event: Literal["verified"] = "verified"


@dataclass(frozen=True, slots=True)
class MarkedCorrupt:
    id: str
    event: Literal["marked_corrupt"] = "marked_corrupt"


@dataclass(frozen=True, slots=True)
class Removed:
    """`paths` are the published files that were deleted."""

    id: str
    paths: tuple[str, ...]
    event: Literal["removed"] = "removed"


@dataclass(frozen=True, slots=True)
class Swept:
    """The keys of the `parts` and the uids of the `records` that were removed. Sweep never deletes published files."""

    id: str
    parts: tuple[str, ...]
    records: tuple[str, ...]
    event: Literal["swept"] = "swept"


@dataclass(frozen=True, slots=True)
class Surveyed:
    """`usage` is None if the volume has no store yet."""

    id: str
    usage: Usage | None
    event: Literal["surveyed"] = "surveyed"


@dataclass(frozen=True, slots=True)
class FailedAnswer:
    """The request failed. `reason` is the name of a class in `domain.errors`; the rest are its fields."""

    id: str
    reason: str
    message: str
    retry_after: float | None = None
    wants_token: bool = False
    event: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Cancelled:
    id: str
    event: Literal["cancelled"] = "cancelled"


Answer = (
    ResolvedAnswer
    | Located
    | AddressWanted
    | Settled
    | Progress
    | VerifyingAnswer
    | Published
    | RecordedReady
    | Checked
    | Identified
    | Measured
    | Verified
    | MarkedCorrupt
    | Removed
    | Swept
    | Surveyed
    | FailedAnswer
    | Cancelled
)
