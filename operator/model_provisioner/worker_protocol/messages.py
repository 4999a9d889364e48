"""The messages between the operator and a worker, as values: requests, and the answers to them.

The operator sends requests, a worker sends answers; `codec` turns both into lines. The messages say nothing about the
channel: a child process has pipes, and another channel can carry the same lines. Requests carry credentials, therefore
they are never logged and never go to argv or the environment.
"""

from dataclasses import dataclass
from typing import Literal

from model_provisioner.domain.lifecycle.suspended_message import NO_ALTERNATIVES, Alternatives
from model_provisioner.domain.modeldownload import FileRecord, GGUFSummary
from model_provisioner.domain.network.credentials import Credentials
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.domain.store.holders import Holder
from model_provisioner.domain.store.plan import Plan
from model_provisioner.domain.store.space import Usage

MAX_HUB_REQUESTS = 16  # to hubs: who has more waits with them, for in the resolver it would count as the hub's delay


@dataclass(frozen=True, slots=True)
class Resolve:
    """Turn a ref into a plan; `revision` pins what was resolved before. Answered by ResolvedAnswer.

    `store` is where the file of a `local:` ref is looked for.
    """

    id: str
    ref: str
    endpoint: str
    revision: str | None = None
    digest: str | None = None
    credentials: Credentials | None = None
    store: StoreRef | None = None
    op: Literal["resolve"] = "resolve"


@dataclass(frozen=True, slots=True)
class Settle:
    """Fix the final path of each file of a plan and write the holder's record. Answered by Settled.

    Where it held others before, `delete` says whether they go, as in Remove.
    """

    id: str
    store: StoreRef
    holder: Holder
    plan: Plan
    delete: bool = False
    op: Literal["settle"] = "settle"


@dataclass(frozen=True, slots=True)
class Fetch:
    """Bring the files of a settled plan to their paths. Answered by Progress…, VerifyingAnswer…, then Published.

    Where it fails or is cancelled, the last of these has all that was `received`.
    `bytes_per_second` limits this transfer (None: unlimited); `epoch` is the writer's, see the journal.
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
    """From now on the fetch with this id may use so much, as in Fetch. Not answered; one that has ended ignores it."""

    id: str
    connections: int
    bytes_per_second: int | None
    op: Literal["limit"] = "limit"


@dataclass(frozen=True, slots=True)
class Check:
    """Are these files still there, with their sizes, and what does the record of `holder` (a uid) say of their content?

    Answered by Checked.
    """

    id: str
    store: StoreRef
    files: tuple[FileRecord, ...]
    holder: str | None = None
    op: Literal["check"] = "check"


@dataclass(frozen=True, slots=True)
class Measure:
    """How much room does a settled plan still need, and how much is free? Answered by Measured."""

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
    """The files at `paths` are not what they should be: nobody attests for them any more. Answered by MarkedCorrupt."""

    id: str
    store: StoreRef
    paths: tuple[str, ...]
    op: Literal["mark_corrupt"] = "mark_corrupt"


@dataclass(frozen=True, slots=True)
class Remove:
    """Give up what a holder held; `delete` asks for its files too, if nobody else wants them. Answered by Removed."""

    id: str
    store: StoreRef
    uid: str
    delete: bool
    op: Literal["remove"] = "remove"


@dataclass(frozen=True, slots=True)
class Sweep:
    """Give up what objects of `namespaces` held that are gone. Answered by Swept.

    `uids` are all objects that there are in `namespaces`, from a complete list.
    """

    id: str
    store: StoreRef
    namespaces: tuple[str, ...]
    uids: tuple[str, ...]
    op: Literal["sweep"] = "sweep"


@dataclass(frozen=True, slots=True)
class Survey:
    """How much of the volume is free, and how much does nobody hold? Answered by Surveyed."""

    id: str
    store: StoreRef
    op: Literal["survey"] = "survey"


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop the request with this id: its journal is written, then it is answered by Cancelled."""

    id: str
    op: Literal["cancel"] = "cancel"


Task = Resolve | Settle | Fetch | Check | Measure | Verify | MarkCorrupt | Remove | Sweep | Survey
Request = Task | Limit | Cancel


@dataclass(frozen=True, slots=True)
class ResolvedAnswer:
    """`alternatives` are other models of the same repository."""

    id: str
    plan: Plan
    alternatives: Alternatives = NO_ALTERNATIVES
    event: Literal["resolved"] = "resolved"


@dataclass(frozen=True, slots=True)
class Settled:
    """`plan` with final paths. `durable_bytes` of it are in parts or already published."""

    id: str
    store_id: str
    plan: Plan
    durable_bytes: int
    event: Literal["settled"] = "settled"


@dataclass(frozen=True, slots=True)
class Progress:
    """`bytes` of `total` are written. `restarts` counts how often journalled bytes were thrown away.

    `received` bytes came from the source since the fetch began, whatever became of them.
    """

    id: str
    bytes: int
    total: int
    restarts: int
    received: int
    event: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class VerifyingAnswer:
    """Every byte is here; `bytes` of `total` are hashed. `received` as in Progress; 0 where nothing is fetched."""

    id: str
    bytes: int
    total: int
    received: int = 0
    event: Literal["verifying"] = "verifying"


@dataclass(frozen=True, slots=True)
class Published:
    """`received` as in Progress. `read`: every byte was read for it, none believed because a record attests for it."""

    id: str
    files: tuple[FileRecord, ...]
    gguf: GGUFSummary
    received: int
    read: bool = False
    event: Literal["published"] = "published"


@dataclass(frozen=True, slots=True)
class Checked:
    """`missing` are the paths that are not there, or have another size. Of the others, the holder's record

    does not vouch for `unattested`, among which somebody has found those in `corrupt` to be wrong.
    """

    id: str
    missing: tuple[str, ...]
    unattested: tuple[str, ...] = ()
    corrupt: tuple[str, ...] = ()
    event: Literal["checked"] = "checked"


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes: `needed` are still to be written, `free` may be written."""

    id: str
    needed: int
    free: int
    event: Literal["measured"] = "measured"


@dataclass(frozen=True, slots=True)
class Verified:
    """`wrong` are the paths that are not there, or whose content has another size or digest."""

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
    """What went: the keys of `parts`, and the uids of `records`. No published file ever goes this way."""

    id: str
    parts: tuple[str, ...]
    records: tuple[str, ...]
    event: Literal["swept"] = "swept"


@dataclass(frozen=True, slots=True)
class Surveyed:
    """`usage` is None where there is no store yet."""

    id: str
    usage: Usage | None
    event: Literal["surveyed"] = "surveyed"


@dataclass(frozen=True, slots=True)
class FailedAnswer:
    """`reason` is the name of a class in `domain.errors`, which has the other fields."""

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
    | Checked
    | Measured
    | Verified
    | MarkedCorrupt
    | Removed
    | Swept
    | Surveyed
    | FailedAnswer
    | Cancelled
)
