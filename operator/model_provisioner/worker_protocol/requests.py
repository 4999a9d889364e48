"""What the controller asks a worker to do. The answers are in `worker_protocol.answers`, the codec in `codec`.

A request may contain credentials, so it must never be logged, nor passed in argv or the environment.
"""

from typing import Literal

import msgspec

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.store.claim import Claim, StoreRef
from model_provisioner.domain.store.holders import Holder, Holding
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.domain.views.ollama_model import ViewedModel
from model_provisioner.worker_protocol.copies import Copy, DoorAddress
from model_provisioner.worker_protocol.failure import Failure


class Resolve(msgspec.Struct, frozen=True):
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


class Locate(msgspec.Struct, frozen=True):
    """Say where the bytes of `file` are now, which is `signed` and of a plan of `ref`. Answered by Located.

    `endpoint` is that of the file.
    """

    id: str
    ref: str
    endpoint: str
    file: PlannedFile
    credentials: Credentials | None = None
    op: Literal["locate"] = "locate"


class ProveAccess(msgspec.Struct, frozen=True):
    """Ask the source for one byte of `file`, which is of a plan of `ref`. Answered by AccessProved if it comes.

    `endpoint` is that of the file.
    """

    id: str
    ref: str
    endpoint: str
    file: PlannedFile
    credentials: Credentials | None = None
    op: Literal["prove_access"] = "prove_access"


class Send(msgspec.Struct, frozen=True):
    """Write the bytes from `start` up to `stop` of a published file to a Unix socket. Answered by Sent.

    The file is the one at `file.path`, if a record confirms that it is `file`. `key` is written first: it tells the
    listener at the path `socket` which request these bytes are for, of which there may be none.
    """

    id: str
    store: StoreRef
    file: PlannedFile
    start: int
    stop: int
    socket: str
    key: str
    op: Literal["send"] = "send"


class Settle(msgspec.Struct, frozen=True):
    """Choose the final path of each file of a plan and write the holder's record. Answered by Settled.

    `delete` applies to files that the holder held before and that are not in the plan, as in Remove.
    """

    id: str
    store: StoreRef
    holder: Holder
    plan: Plan
    delete: bool = False
    op: Literal["settle"] = "settle"


class Fetch(msgspec.Struct, frozen=True):
    """Fetch the files of a settled plan. Answered by Progress…, VerifyingAnswer…, then Published.

    If it fails or is cancelled, the last Progress or VerifyingAnswer has the final `received`. `bytes_per_second`
    limits this transfer (None: unlimited). `epoch` is the one of the journals, see `domain.store.journal`. `copies` are
    files that a worker pod can have from the operator, and `door` is where; the pod knows that itself.
    """

    id: str
    store: StoreRef
    holder: Holder
    plan: Plan
    connections: int
    bytes_per_second: int | None
    epoch: int
    credentials: Credentials | None = None
    copies: tuple[Copy, ...] = ()
    door: DoorAddress | None = None
    op: Literal["fetch"] = "fetch"


class Limit(msgspec.Struct, frozen=True):
    """Change the limits of the running Fetch with this id. Not answered, and ignored if the Fetch has ended."""

    id: str
    connections: int
    bytes_per_second: int | None
    op: Literal["limit"] = "limit"


class AddressGiven(msgspec.Struct, frozen=True):
    """The answer to an AddressWanted of the running Fetch with this id. Not answered, and ignored if it has ended.

    `address` None: the source did not tell it, and `error` is why.
    """

    id: str
    path: str
    address: Address | None
    error: Failure | None = None
    op: Literal["address_given"] = "address_given"


class RecordReady(msgspec.Struct, frozen=True):
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


class Check(msgspec.Struct, frozen=True):
    """Check that these files exist with their sizes, and what the record of `holder` (a uid) confirms of their content.

    Answered by Checked.
    """

    id: str
    store: StoreRef
    files: tuple[FileRecord, ...]
    holder: str | None = None
    op: Literal["check"] = "check"


class Identify(msgspec.Struct, frozen=True):
    """Say which store is mounted, and which objects of `uids` have a record there. Answered by Identified.

    `store` has no id: the answer is wanted when the ids that are known contradict each other.
    """

    id: str
    store: StoreRef
    uids: tuple[str, ...]
    op: Literal["identify"] = "identify"


class Measure(msgspec.Struct, frozen=True):
    """Measure the space that a settled plan still needs and the free space. Answered by Measured."""

    id: str
    store: StoreRef
    plan: Plan
    op: Literal["measure"] = "measure"


class Verify(msgspec.Struct, frozen=True):
    """Read these published files again, every byte. Answered by VerifyingAnswer…, then Verified."""

    id: str
    store: StoreRef
    files: tuple[FileRecord, ...]
    op: Literal["verify"] = "verify"


class MarkCorrupt(msgspec.Struct, frozen=True):
    """Mark the files at `paths` as corrupt: no record confirms their content any more. Answered by MarkedCorrupt."""

    id: str
    store: StoreRef
    paths: tuple[str, ...]
    op: Literal["mark_corrupt"] = "mark_corrupt"


class Remove(msgspec.Struct, frozen=True):
    """Remove the record of the holder `uid`. Answered by Removed.

    `delete` also deletes its files if no other object holds them.
    """

    id: str
    store: StoreRef
    uid: str
    delete: bool
    op: Literal["remove"] = "remove"


class Sweep(msgspec.Struct, frozen=True):
    """Remove the records of deleted objects of `namespaces`, of which "*" means all. Answered by Swept.

    `uids` are the uids of all existing objects in `namespaces`, from a complete list; `names` are their names, as
    `namespace/name`.
    """

    id: str
    store: StoreRef
    namespaces: tuple[str, ...]
    uids: tuple[str, ...]
    names: tuple[str, ...] = ()
    op: Literal["sweep"] = "sweep"


class Survey(msgspec.Struct, frozen=True):
    """Measure the free space of the volume, and the space of files that no object holds. Answered by Surveyed."""

    id: str
    store: StoreRef
    op: Literal["survey"] = "survey"


class View(msgspec.Struct, frozen=True):
    """Make the view of Ollama list `models`, all that are Ready on `claim`. Answered by Viewed.

    None: the view is switched off, and what is in it for `claim` is removed.
    """

    id: str
    store: StoreRef
    claim: Claim
    models: tuple[ViewedModel, ...] | None
    op: Literal["view"] = "view"


class Cancel(msgspec.Struct, frozen=True):
    """Cancel the request with this id. Its journal is written, then it is answered by Cancelled."""

    id: str
    op: Literal["cancel"] = "cancel"


Task = (
    Resolve
    | Locate
    | ProveAccess
    | Send
    | Settle
    | Fetch
    | RecordReady
    | Check
    | Identify
    | Measure
    | Verify
    | MarkCorrupt
    | Remove
    | Sweep
    | Survey
    | View
)
Request = Task | Limit | AddressGiven | Cancel
