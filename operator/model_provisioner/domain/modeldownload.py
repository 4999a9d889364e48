"""The ModelDownload resource as values: what the API server stores, in the field names of Python.

`kube.resource` translates these to and from the camelCase documents of the API; nothing here does.
Times are RFC 3339 strings in UTC with whole seconds, as Kubernetes writes them.
"""

from dataclasses import dataclass
from enum import StrEnum


class DigestSource(StrEnum):
    """Who said what a model's digest must be."""

    SPEC = "Spec"
    SOURCE = "Source"
    COMPUTED = "Computed"


class ReclaimPolicy(StrEnum):
    """What becomes of the published files when their object is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


@dataclass(frozen=True, slots=True)
class Spec:
    """What is wanted. `max_bytes_per_second` is in bytes; `claim_name` None means the default store's."""

    model_ref: str
    digest: str | None = None
    secret_name: str | None = None
    endpoint: str | None = None
    claim_name: str | None = None
    connections: int = 8
    max_bytes_per_second: int | None = None
    priority: int = 0
    suspend: bool = False
    reclaim_policy: ReclaimPolicy = ReclaimPolicy.RETAIN


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One published file, below the root of its volume."""

    path: str
    size_bytes: int
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class GGUFSummary:
    """What the GGUF header says about a model, for people and for schedulers."""

    architecture: str | None = None
    name: str | None = None
    parameters: int | None = None
    quantization: str | None = None
    context_length: int | None = None
    license: str | None = None
    chat_template: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """What a ref resolved to. The object goes on with `revision` after a restart, never with a moved branch."""

    claim_name: str
    store_id: str
    path: str
    size: str
    size_bytes: int
    digest_source: DigestSource
    files: tuple[FileRecord, ...]
    revision: str | None = None
    digest: str | None = None
    gguf: GGUFSummary | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A Kubernetes condition; `status` is "True" or "False"."""

    type: str
    status: str
    reason: str
    message: str
    observed_generation: int
    last_transition_time: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the bytes are. `bytes` counts what is safe or on its way within this attempt."""

    bytes: int
    total_bytes: int
    percent: int
    summary: str
    last_update_time: str
    bytes_per_second: int | None = None
    eta_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """What was observed; a projection of a snapshot, made in `domain.status` alone."""

    observed_generation: int = -1
    conditions: tuple[Condition, ...] = ()
    progress: Progress | None = None
    start_time: str | None = None
    completion_time: str | None = None
    next_retry_time: str | None = None
    attempts: int = 0
    last_handled_reconcile_at: str | None = None
    last_handled_verify_at: str | None = None
    model: Model | None = None

    def condition(self, kind: str) -> Condition | None:
        return next((condition for condition in self.conditions if condition.type == kind), None)

    @property
    def ready(self) -> bool:
        condition = self.condition("Ready")
        return condition is not None and condition.status == "True"

    @property
    def stalled(self) -> bool:
        condition = self.condition("Stalled")
        return condition is not None and condition.status == "True"


@dataclass(frozen=True, slots=True)
class ModelDownload:
    """One object, as last seen."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    creation_time: str
    deleting: bool
    reconcile_at: str | None
    spec: Spec
    status: Status
    verify_at: str | None = None
