"""The settings of `model-provisioner gateway`, which `gateway.command` reads and `gateway.app` acts on."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from model_provisioner.settings.common import Kubeconfig, Settings, StringList, own_namespace
from model_provisioner.settings.flags import Metavar

_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9._-]*[a-z0-9])?", re.IGNORECASE)
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")


class GatewaySettings(Settings):
    """No `watch_namespace` means all namespaces. `base_path` is empty, or starts with a slash and ends without one."""

    listen: Annotated[str, Metavar("HOST:PORT")] = Field(
        default="127.0.0.1:8081", description="where to listen (default 127.0.0.1:8081)"
    )
    watch_namespace: Annotated[StringList, Metavar("NS")] = Field(
        default_factory=list, description="namespace to show (repeatable; default: all)"
    )
    default_namespace: Annotated[str, Metavar("NS")] = Field(
        default_factory=lambda: own_namespace() or "default",
        description="where downloads go that name no namespace (default: the pod's own)",
    )
    auth: Literal["token", "none"] = Field(
        default="token",
        description="token: callers send a Kubernetes token (default); none: every caller may read, none may write",
    )
    anonymous_writes: bool = Field(
        default=False,
        description="with --auth none: let every caller start and delete downloads too, with the gateway's own rights",
    )
    allowed_host: Annotated[StringList, Metavar("HOST")] = Field(
        default_factory=list,
        description="with --auth none: a name of this gateway, or *.DOMAIN (repeatable; localhost and IP addresses are "
        "always allowed)",
    )
    base_path: Annotated[str, Metavar("/PATH")] = Field(
        default="",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="serve everything but the probes below this path",
    )
    cors_origin: Annotated[StringList, Metavar("ORIGIN")] = Field(
        default_factory=list, description="web page that may call from elsewhere (repeatable)"
    )
    tls_cert: Annotated[Path | None, Metavar("FILE")] = Field(
        default=None, description="serve HTTPS with this certificate chain (PEM)"
    )
    tls_key: Annotated[Path | None, Metavar("FILE")] = Field(default=None, description="its private key (PEM)")
    max_streams: Annotated[int, Metavar("N")] = Field(
        default=2500, ge=1, description="most event streams in all (default 2500)"
    )
    max_streams_per_identity: Annotated[int, Metavar("N")] = Field(
        default=250, ge=1, description="most event streams of one account (default 250)"
    )
    lease_namespace: Annotated[str | None, Metavar("NS")] = Field(
        default=None,
        description="where the operator's Lease is (default: this pod's namespace, else the default namespace)",
    )
    kubeconfig: Kubeconfig = None

    @field_validator("cors_origin")
    @classmethod
    def _check_origins(cls, value: list[str]) -> list[str]:
        wrong = next((origin for origin in value if not _ORIGIN.fullmatch(origin)), None)
        if wrong is not None:
            raise ValueError(f"{wrong!r}: write an origin as browsers send it, such as https://dashboard.example")
        return value

    @field_validator("allowed_host")
    @classmethod
    def _check_hosts(cls, value: list[str]) -> list[str]:
        wrong = next((host for host in value if not _HOST.fullmatch(host)), None)
        if wrong is not None:
            raise ValueError(f"{wrong!r}: write a host name without scheme and port, such as models.example.com")
        return value

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key are given together")
        if self.anonymous_writes and self.auth != "none":
            raise ValueError("--anonymous-writes is for --auth none; with tokens, callers write with their own rights")
        return self

    @property
    def operator_namespace(self) -> str:
        """The namespace of the operator's Lease."""
        return self.lease_namespace or own_namespace() or self.default_namespace
