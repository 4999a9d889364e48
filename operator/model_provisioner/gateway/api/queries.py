"""What clients of the HTTP API send: the fields of every query and body, as they are in /openapi.json.

Handlers parse requests into these (`request_parsing`); `openapi` describes them. The docstrings of the classes are
shown in /openapi.json. What the API answers is in `documents`.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from model_provisioner.domain.quantity import parse_duration

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_MAX_LIST_LENGTH = 1000
MAX_WAIT_SECONDS = 600

Namespace = Annotated[str, StringConstraints(max_length=63, pattern=DNS_LABEL)]
Endpoint = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        description="`spec.endpoint` of the download; the operator's own hub where omitted.",
        examples=["https://mirror.example"],
    ),
]
Ref = Annotated[
    str,
    Field(
        min_length=1,
        max_length=1024,
        description="The model: hf:<owner>/<repo>[@<revision>][:<quantisation, file or directory/>], "
        "modelscope:… likewise, https://<host>/<path>, s3://<bucket>/<key>, s3://<bucket>/<prefix>/[:<quantisation>], "
        "oci://<registry>/<repository>[:<tag>|@sha256:<digest>], ollama:[<namespace>/]<name>[:<tag>], or local:<path>.",
        examples=["hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF:Q4_K_M"],
    ),
]


class Input(BaseModel):
    """What a client sends. An unknown field is refused, because it is a misspelt one."""

    model_config = ConfigDict(extra="forbid")


def _parse_flag(value: object) -> object:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


class DownloadRequest(Input):
    """A model to download. The same request again meets the same download."""

    model_ref: Ref
    namespace: Namespace | None = Field(default=None, description="Where to; the gateway's default where omitted.")
    name: str | None = Field(
        default=None, max_length=63, description="Name of the ModelDownload; made of the ref where omitted."
    )
    spec: dict[str, Any] = Field(
        default_factory=dict,
        description="Further fields of the resource's spec: `kubectl explain modeldownload.spec` lists them.",
    )


class ChangeRequest(Input):
    """What is to be different: `{"spec": {"suspend": true}}` pauses a download, and keeps its bytes."""

    spec: dict[str, Any] = Field(
        min_length=1, description="Fields of the resource's spec and their new values; null takes one away."
    )


class Scoped(Input):
    """Query of every call."""

    namespace: Namespace | None = Field(
        default=None,
        description="One namespace; all that the caller may see, or else the gateway's default, where omitted.",
    )


class Page(Scoped):
    """Query of a list: without `limit` it is whole."""

    limit: int | None = Field(default=None, ge=1, le=_MAX_LIST_LENGTH, description="Most entries in the answer.")
    continue_: str | None = Field(
        default=None,
        alias="continue",
        max_length=1024,
        pattern="^[A-Za-z0-9_=-]*$",
        description="The `continue` of the answer before this one.",
    )


class DownloadsQuery(Page):
    """Query of the list of downloads."""

    all: Annotated[bool, BeforeValidator(_parse_flag)] = Field(
        default=False, strict=True, description="Also those that have ended."
    )


class ModelQuery(Scoped):
    """Query of calls about one model."""

    model_ref: Ref
    endpoint: Endpoint | None = None


def _parse_wait(value: object) -> object:
    """The seconds of a duration. Raises PydanticCustomError with a message for users."""
    if not isinstance(value, str):
        return value
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise PydanticCustomError("duration", "{why}", {"why": str(error)}) from None
    if seconds > MAX_WAIT_SECONDS:
        raise PydanticCustomError("duration", "at most 10m: ask again after that")
    return seconds


class LocalQuery(ModelQuery):
    """Query of the call that finds a model, and can wait for it."""

    wait: Annotated[
        float,
        BeforeValidator(_parse_wait),
        WithJsonSchema({"type": "string", "maxLength": 16, "examples": ["30s", "10m"]}),
    ] = Field(
        default=0.0,
        description="How long to wait until the model is ready, at most 10m. A download that stalls ends it.",
    )


class StreamQuery(Scoped):
    """Query of the event stream."""

    download_id: str | None = Field(default=None, max_length=64, description="This download alone.")
    model_ref: Ref | None = Field(default=None, description="Downloads of this model alone.")
    ticket: str | None = Field(
        default=None, max_length=512, description="Instead of a token, for an EventSource, which can send no header."
    )
