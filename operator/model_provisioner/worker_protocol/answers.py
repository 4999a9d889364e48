"""What a worker answers to the requests of `worker_protocol.requests`."""

from typing import Literal

import msgspec

from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.lifecycle.suspended_message import NO_ALTERNATIVES, Alternatives
from model_provisioner.domain.model_facts import FileRecord, GGUFSummary, OllamaSettings
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.store.plan import Plan
from model_provisioner.domain.store.space import Usage


class ResolvedAnswer(msgspec.Struct, frozen=True):
    """The plan of a ref; `alternatives` are other models of the same repository, `ollama` what Ollama says of it."""

    id: str
    plan: Plan
    alternatives: Alternatives = NO_ALTERNATIVES
    ollama: OllamaSettings | None = None
    event: Literal["resolved"] = "resolved"


class Located(msgspec.Struct, frozen=True):
    """Where the bytes of a file are for a while. It is a secret."""

    id: str
    address: Address
    event: Literal["located"] = "located"


class AccessProved(msgspec.Struct, frozen=True):
    """The source has sent a byte of the file to the credentials of the request."""

    id: str
    event: Literal["access_proved"] = "access_proved"


class Sent(msgspec.Struct, frozen=True):
    """All bytes of the range are written to the socket."""

    id: str
    event: Literal["sent"] = "sent"


class AddressWanted(msgspec.Struct, frozen=True):
    """A Fetch needs the address of the file at `path` of its plan, which is `signed`. Answered by AddressGiven."""

    id: str
    path: str
    event: Literal["address_wanted"] = "address_wanted"


class Settled(msgspec.Struct, frozen=True):
    """`plan` has the final paths. `durable_bytes` of it are in parts or already published."""

    id: str
    store_id: str
    plan: Plan
    durable_bytes: int
    event: Literal["settled"] = "settled"


class Progress(msgspec.Struct, frozen=True):
    """`bytes` of `total` are written. `restarts` counts how often journalled bytes were discarded.

    `received` is the number of bytes that have come since the fetch began, including discarded ones; `copied` of them
    came from the operator, the others from the source. `wait` says what the fetch waits for if no byte comes.
    """

    id: str
    bytes: int
    total: int
    restarts: int
    received: int
    wait: Wait | None = None
    copied: int = 0
    event: Literal["progress"] = "progress"


class VerifyingAnswer(msgspec.Struct, frozen=True):
    """All bytes are present; `bytes` of `total` are hashed. `received`, `copied` as in Progress, 0 for a Verify."""

    id: str
    bytes: int
    total: int
    received: int = 0
    copied: int = 0
    event: Literal["verifying"] = "verifying"


class Published(msgspec.Struct, frozen=True):
    """All files are published. `received` and `copied` as in Progress.

    `read`: every byte was read and hashed; False if the digest of a file was taken from a record.
    """

    id: str
    files: tuple[FileRecord, ...]
    gguf: GGUFSummary
    received: int
    read: bool = False
    copied: int = 0
    event: Literal["published"] = "published"


class RecordedReady(msgspec.Struct, frozen=True):
    """The uids of the objects whose record was written. `without` are those of the objects that are without one."""

    id: str
    uids: tuple[str, ...]
    without: tuple[str, ...] = ()
    event: Literal["recorded_ready"] = "recorded_ready"


class Checked(msgspec.Struct, frozen=True):
    """`missing` are the paths of files that do not exist or have another size.

    `unattested` are the other paths whose content the holder's record does not confirm. `corrupt` are the ones
    of these that a record marks as corrupt.
    """

    id: str
    missing: tuple[str, ...]
    unattested: tuple[str, ...] = ()
    corrupt: tuple[str, ...] = ()
    event: Literal["checked"] = "checked"


class Identified(msgspec.Struct, frozen=True):
    """`store_id` is that of the mounted store, None if there is none; `uids` are those that have a record there."""

    id: str
    store_id: str | None
    uids: tuple[str, ...] = ()
    event: Literal["identified"] = "identified"


class Measured(msgspec.Struct, frozen=True):
    """Bytes: `needed` are still to be written, `free` may be written (None: unknown)."""

    id: str
    needed: int
    free: int | None
    event: Literal["measured"] = "measured"


class Verified(msgspec.Struct, frozen=True):
    """`wrong` are the paths of files that do not exist, or have another size or digest."""

    id: str
    wrong: tuple[str, ...]
    event: Literal["verified"] = "verified"


class MarkedCorrupt(msgspec.Struct, frozen=True):
    id: str
    event: Literal["marked_corrupt"] = "marked_corrupt"


class Removed(msgspec.Struct, frozen=True):
    """`paths` are the published files that were deleted."""

    id: str
    paths: tuple[str, ...]
    event: Literal["removed"] = "removed"


class Swept(msgspec.Struct, frozen=True):
    """The keys of the `parts` and the uids of the `records` that were removed. Sweep never deletes published files."""

    id: str
    parts: tuple[str, ...]
    records: tuple[str, ...]
    event: Literal["swept"] = "swept"


class Surveyed(msgspec.Struct, frozen=True):
    """`usage` is None if the volume has no store yet."""

    id: str
    usage: Usage | None
    event: Literal["surveyed"] = "surveyed"


class Viewed(msgspec.Struct, frozen=True):
    """`listed` are the names that Ollama lists of the claim, `left_out` has a message for each model without one.

    `symbolic` files could not be linked by a hard link and have a symbolic one.
    """

    id: str
    listed: tuple[str, ...]
    left_out: tuple[str, ...]
    symbolic: int
    event: Literal["viewed"] = "viewed"


class FailedAnswer(msgspec.Struct, frozen=True):
    """The request failed. `reason` is the name of a class in `domain.errors`; the rest are its fields."""

    id: str
    reason: str
    message: str
    retry_after: float | None = None
    wants_token: bool = False
    event: Literal["failed"] = "failed"


class Cancelled(msgspec.Struct, frozen=True):
    id: str
    event: Literal["cancelled"] = "cancelled"


Answer = (
    ResolvedAnswer
    | Located
    | AccessProved
    | Sent
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
    | Viewed
    | FailedAnswer
    | Cancelled
)
