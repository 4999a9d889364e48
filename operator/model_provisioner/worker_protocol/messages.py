"""The messages between the controller and a worker: requests, and the answers to them.

The controller sends requests, a worker sends answers; `worker_protocol.codec` encodes both. The messages do not depend
on the channel: a child process has pipes, and another channel can carry the same lines. A request may contain
credentials, so it must never be logged, nor passed in argv or the environment.
"""

from dataclasses import dataclass
from typing import Literal

from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.lifecycle.suspended_message import NO_ALTERNATIVES, Alternatives
from model_provisioner.domain.modeldownload import FileRecord, GGUFSummary
from model_provisioner.domain.network.credentials import Credentials
from model_provisioner.domain.store.claim import Claim, StoreRef
from model_provisioner.domain.store.holders import Holder, Holding
from model_provisioner.domain.store.plan import Plan
from model_provisioner.domain.store.space import Usage

OUT_OF_MEMORY_EXIT = 12  # ENOMEM
EXIT_REASONS = {OUT_OF_MEMORY_EXIT: "it needed more memory than it may have"}
"""What the exit codes of a worker mean, as a clause for messages."""
MAX_HUB_REQUESTS = 16
"""Concurrent requests to hubs. The controller queues more of them, because in the worker their wait would count as a
delay of the hub."""


@dataclass(frozen=True, slots=True)
class Resolve:
    """Resolve a ref to a plan. Answered by ResolvedAnswer.

    `endpoint` is the normalised URL of the hub (`domain.network.addresses.parse_endpoint`). With `own_hub` it is the
    one of the operator or of the command line, else one that an object names. `revision` is the commit of an earlier
    resolution, None for the first one. `store` is where the file of a `local:` ref is looked up. `projector`: the plan
    must also have the multimodal projector of the model.
    """

    id: str
    ref: str
    endpoint: str
    revision: str | None = None
    digest: str | None = None
    credentials: Credentials | None = None
    store: StoreRef | None = None
    own_hub: bool = True
    projector: bool = False
    op: Literal["resolve"] = "resolve"


@dataclass(frozen=True, slots=True)
class Settle:
    """Choose the final path of each file of a plan and write the holder's record. Answered by Settled.

    `delete` applies to files that the holder held before and that are not in the plan, as in Remove.
    """

    id: str
    store: StoreRef
    holder: Holder
    plan: Plan
    delete: bool = False
    op: Literal["settle"] = "settle"


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch the files of a settled plan. Answered by Progress…, VerifyingAnswer…, then Published.

    If it fails or is cancelled, the last Progress or VerifyingAnswer has the final `received`. `bytes_per_second`
    limits this transfer (None: unlimited). `epoch` is the one of the journals, see `domain.store.journal`.
    """

    id: str
    store: StoreRef
    holder: Holder
    plan: Plan
    connections: int
    bytes_per_second: int | None
    epoch: int
    credentials: Credentials | None = None
    op: Literal["fetch"] = "fetch"


@dataclass(frozen=True, slots=True)
class Limit:
    """Change the limits of the running Fetch with this id. Not answered, and ignored if the Fetch has ended."""

    id: str
    connections: int
    bytes_per_second: int | None
    op: Literal["limit"] = "limit"


@dataclass(frozen=True, slots=True)
class RecordReady:
    """Write the record of each of these Ready objects that has none. Answered by RecordedReady.

    A record is written only if the content of its files is known: another record attests it, or the files were
    `verified` just now, every byte. If each of them has one, that is confirmed for the claim `confirm`, see
    `domain.store.confirmation`. None confirms nothing.
    """

    id: str
    store: StoreRef
    holdings: tuple[Holding, ...]
    confirm: Claim | None = None
    verified: bool = False
    op: Literal["record_ready"] = "record_ready"


@dataclass(frozen=True, slots=True)
class Check:
    """Check that these files exist with their sizes, and what the record of `holder` (a uid) confirms of their content.

    Answered by Checked.
    """

    id: str
    store: StoreRef
    files: tuple[FileRecord, ...]
    holder: str | None = None
    op: Literal["check"] = "check"


@dataclass(frozen=True, slots=True)
class Identify:
    """Say which store is mounted, and which objects of `uids` have a record there. Answered by Identified.

    `store` has no id: the answer is wanted when the ids that are known contradict each other.
    """

    id: str
    store: StoreRef
    uids: tuple[str, ...]
    op: Literal["identify"] = "identify"


@dataclass(frozen=True, slots=True)
class Measure:
    """Measure the space that a settled plan still needs and the free space. Answered by Measured."""

    id: str
    store: StoreRef
    plan: Plan
    op: Literal["measure"] = "measure"


@dataclass(frozen=True, slots=True)
class Verify:
    """Read these published files again, every byte. Answered by VerifyingAnswer…, then Verified."""

    id: str
    store: StoreRef
    files: tuple[FileRecord, ...]
    op: Literal["verify"] = "verify"


@dataclass(frozen=True, slots=True)
class MarkCorrupt:
    """Mark the files at `paths` as corrupt: no record confirms their content any more. Answered by MarkedCorrupt."""

    id: str
    store: StoreRef
    paths: tuple[str, ...]
    op: Literal["mark_corrupt"] = "mark_corrupt"


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the record of the holder `uid`. Answered by Removed.

    `delete` also deletes its files if no other object holds them.
    """

    id: str
    store: StoreRef
    uid: str
    delete: bool
    op: Literal["remove"] = "remove"


@dataclass(frozen=True, slots=True)
class Sweep:
    """Remove the records of deleted objects of `namespaces`. Answered by Swept.

    `uids` are the uids of all existing objects in `namespaces`, from a complete list; `names` are their names, as
    `namespace/name`.
    """

    id: str
    store: StoreRef
    namespaces: tuple[str, ...]
    uids: tuple[str, ...]
    names: tuple[str, ...] = ()
    op: Literal["sweep"] = "sweep"


@dataclass(frozen=True, slots=True)
class Survey:
    """Measure the free space of the volume, and the space of files that no object holds. Answered by Surveyed."""

    id: str
    store: StoreRef
    op: Literal["survey"] = "survey"


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel the request with this id. Its journal is written, then it is answered by Cancelled."""

    id: str
    op: Literal["cancel"] = "cancel"


Task = (
    Resolve | Settle | Fetch | RecordReady | Check | Identify | Measure | Verify | MarkCorrupt | Remove | Sweep | Survey
)
Request = Task | Limit | Cancel


@dataclass(frozen=True, slots=True)
class ResolvedAnswer:
    """The plan of a ref; `alternatives` are other models of the same repository."""

    id: str
    plan: Plan
    alternatives: Alternatives = NO_ALTERNATIVES
    event: Literal["resolved"] = "resolved"


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
