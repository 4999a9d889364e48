"""The answers of the HTTP API: the fields of every document, as they are in /openapi.json.

Handlers make their answers of these; `openapi` describes them. The docstrings of the classes are shown in
/openapi.json. No decisions are made here. What clients send is in `queries`.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from model_provisioner.domain.modeldownload import Condition, Model, ModelDownload
from model_provisioner.domain.stream import message_of, messages


class Download(BaseModel):
    """A download and how far it is. Sizes are in bytes."""

    model_ref: str
    download_id: str = Field(description="The uid of the ModelDownload.")
    namespace: str
    name: str
    state: str = Field(
        description="One word: Resolving, Queued, Downloading, Verifying, Available, Suspended, Terminating, or an "
        "error."
    )
    bytes: int
    total: int | None
    percent: int
    bytes_per_second: int | None
    eta_seconds: int | None
    queue_position: int | None = Field(description="From 1, while it is queued.")
    stale: bool = Field(description="No operator acts: this stands still, whatever the state says.")
    message: str = Field(description="What goes on, or what to do, for people.")
    path: str | None = Field(default=None, description="Below the root of the volume, once it is Available.")
    projector: str | None = Field(
        default=None, description="The path of its multimodal projector, if one was asked for, once it is Available."
    )
    error: str | None = Field(default=None, description="Why it has given up.")
    endpoint: str | None = Field(default=None, description="Another hub that it is from, as in the resource's spec.")

    @classmethod
    def of(cls, download: ModelDownload, queue_position: int | None, *, stale: bool) -> "Download":
        data = messages(download, queue_position, stale=stale)[0].data
        return cls.model_validate({**data, "message": message_of(download)})


class ConditionDetail(BaseModel):
    """A condition of the ModelDownload."""

    type: str
    status: str
    reason: str
    message: str
    since: str

    @classmethod
    def of(cls, condition: Condition) -> "ConditionDetail":
        return cls(
            type=condition.type,
            status=condition.status,
            reason=condition.reason,
            message=condition.message,
            since=condition.last_transition_time,
        )


class EventDetail(BaseModel):
    """A Kubernetes Event about the ModelDownload."""

    type: str
    reason: str
    message: str
    count: int
    last_seen: str | None

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> "EventDetail":
        """From a core/v1 Event; its times and its count may be missing."""
        return cls(
            type=event.get("type") or "Normal",
            reason=event.get("reason") or "",
            message=event.get("message") or "",
            count=event.get("count") or 1,
            last_seen=event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"],
        )


class Details(BaseModel):
    """What `kubectl describe` tells of a download."""

    download_id: str
    suspended: bool
    reclaim_policy: str = Field(description="What becomes of the files when the download is deleted.")
    attempts: int
    next_retry_time: str | None
    conditions: list[ConditionDetail]
    events: list[EventDetail] | None = Field(description="Newest first; null where the caller may not list events.")

    @classmethod
    def of(cls, download: ModelDownload, events: list[EventDetail] | None) -> "Details":
        status = download.status
        return cls(
            download_id=download.uid,
            suspended=download.spec.suspend,
            reclaim_policy=download.spec.reclaim_policy,
            attempts=status.attempts,
            next_retry_time=status.next_retry_time,
            conditions=[ConditionDetail.of(condition) for condition in status.conditions],
            events=events,
        )


class DownloadList(BaseModel):
    """Downloads, oldest first."""

    downloads: list[Download]
    continue_: str | None = Field(
        default=None, alias="continue", description="Where the next page begins; not there on the last one."
    )


class ModelFile(BaseModel):
    """One file of a model, below the root of its volume."""

    path: str
    size_bytes: int
    digest: str | None


class ReadyModel(BaseModel):
    """A model that is on a volume, whole and verified."""

    model_ref: str
    download_id: str
    namespace: str
    name: str
    claim: str = Field(description="The PersistentVolumeClaim that holds it.")
    path: str = Field(description="The file to load, below the root of the volume.")
    projector: str | None = Field(default=None, description="The path of its multimodal projector, if it has one.")
    files: list[ModelFile]
    size_bytes: int
    digest: str | None
    revision: str | None
    architecture: str | None
    quantization: str | None
    base_model: str | None = Field(
        default=None,
        description="The model that it was made of, as the header of the file names it: its tokenizer fits.",
    )
    endpoint: str | None = Field(default=None, description="Another hub that it is from, as in the resource's spec.")

    @classmethod
    def of(cls, download: ModelDownload, model: Model) -> "ReadyModel":
        gguf = model.gguf
        return cls(
            model_ref=download.spec.model_ref,
            download_id=download.uid,
            namespace=download.namespace,
            name=download.name,
            claim=model.claim_name,
            path=model.path,
            projector=model.projector_path,
            files=[ModelFile(path=file.path, size_bytes=file.size_bytes, digest=file.digest) for file in model.files],
            size_bytes=model.size_bytes,
            digest=model.digest,
            revision=model.revision,
            architecture=gguf.architecture if gguf else None,
            quantization=gguf.quantization if gguf else None,
            base_model=gguf.base_model if gguf else None,
            endpoint=download.spec.endpoint,
        )


class ModelList(BaseModel):
    """Models that are ready, oldest first."""

    models: list[ReadyModel]
    continue_: str | None = Field(
        default=None, alias="continue", description="Where the next page begins; not there on the last one."
    )


class Accepted(BaseModel):
    """A download that has been started, or was there; `path` once the model is ready, and `projector` if it has one."""

    download_id: str
    status: Literal["started", "complete"]
    namespace: str
    name: str
    state: str
    path: str | None = None
    projector: str | None = None


class Deleting(BaseModel):
    """A download that is being deleted."""

    download_id: str
    status: Literal["deleting"] = "deleting"


class IssuedTicket(BaseModel):
    """A ticket for an EventSource: append it to the stream's address as `ticket`."""

    ticket: str
    expires_in: int = Field(description="Seconds.")


class ProblemDocument(BaseModel):
    """RFC 9457. `title` and `type` are one word, the same as in a ModelDownload's conditions."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do, for people.")
