"""The ModelDownload resource as values, with Python names for the fields of the API.

`kube.resource` converts between these and the camelCase documents of the API. Times are RFC 3339 strings in UTC with
whole seconds, as Kubernetes writes them.
"""

from dataclasses import dataclass
from enum import StrEnum

from model_provisioner.domain.model_facts import FileRecord, GGUFSummary, OllamaSettings

MIN_BYTES_PER_SECOND = 64 * 1024
"""The lowest limit of one download, in bytes per second. With a lower one, a model takes weeks."""


class DigestSource(StrEnum):
    """Where the expected digest of a model comes from."""

    SPEC = "Spec"
    SOURCE = "Source"
    COMPUTED = "Computed"


class ReclaimPolicy(StrEnum):
    """What happens to the published files when their object is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class ProjectorChoice(StrEnum):
    """Whether the multimodal projector of a model is fetched too."""

    NONE = "None"
    AUTO = "Auto"


@dataclass(frozen=True, slots=True)
class Spec:
    """The desired state. `claim_name` None means the claim of the default store.

    `max_bytes_per_second` is at least MIN_BYTES_PER_SECOND: `kube.resource` raises a lower one, which an object can
    have that was created before the API server refused it.
    """

    model_ref: str
    digest: str | None = None
    projector: ProjectorChoice = ProjectorChoice.NONE
    secret_name: str | None = None
    endpoint: str | None = None
    claim_name: str | None = None
    connections: int = 8
    max_bytes_per_second: int | None = None
    priority: int = 0
    suspend: bool = False
    reclaim_policy: ReclaimPolicy = ReclaimPolicy.RETAIN


@dataclass(frozen=True, slots=True)
class Projector:
    """The multimodal projector of a model. `path` is that of one of the model's files."""

    path: str


@dataclass(frozen=True, slots=True)
class Model:
    """What a ref resolved to.

    `size` is formatted for users, `size_bytes` is exact. After a restart the download continues at `revision`, also if
    the branch has moved. `repository` is the name that the source has for the repository; the ref may have another
    spelling of it, or a former name. The projector counts in `files`, `size` and `size_bytes`, and
    not in `digest` and `gguf`. `ollama` is known for models of the Ollama registry that have such settings.
    `last_check_time` and `volume_name` are known on claims that only worker pods mount: when the files were last seen,
    and which PersistentVolume the claim had then.
    """

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
    repository: str | None = None
    projector: Projector | None = None
    ollama: OllamaSettings | None = None
    last_check_time: str | None = None
    volume_name: str | None = None

    @property
    def projector_path(self) -> str | None:
        return self.projector.path if self.projector else None


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
    """The progress of this attempt. `bytes` are written, not all of them durably yet."""

    bytes: int
    total_bytes: int
    percent: int
    summary: str
    last_update_time: str
    bytes_per_second: int | None = None
    eta_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Status:
    """The observed state. Only `domain.lifecycle.status` makes it, from a snapshot."""

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
    """One ModelDownload object, as last seen."""

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
