"""Every setting of the long-running programs, in one place: from flags, else from MODEL_PROVISIONER_*.

The only reader of the environment, but for a person's HF_TOKEN (`transfer.command`). `cli` parses flags
and passes those that were given; a list in the environment is separated by commas. A wrong value ends the
program with a message for people.
"""

import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model_provisioner.domain.network.addresses import NetworkPolicy, parse_allowed_host, parse_network
from model_provisioner.domain.network.proxy import PROXY_NEEDS_HOSTS
from model_provisioner.domain.quantity import parse_quantity
from model_provisioner.domain.refs.refs import HUGGING_FACE
from model_provisioner.domain.store.modes import Modes, parse_mode

_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?")
_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")

Words = Annotated[list[str], NoDecode]


class Mount(BaseModel):
    """One store: a claim and the directory at which this process sees it."""

    model_config = ConfigDict(frozen=True)

    namespace: str
    claim: str
    directory: Path

    @classmethod
    def parse(cls, text: str) -> "Mount":
        """`NAMESPACE/CLAIM=DIR`. Raises ValueError."""
        place, equals, directory = text.partition("=")
        namespace, slash, claim = place.partition("/")
        if not (equals and slash and namespace and claim and directory.startswith("/")) or "/" in claim:
            raise ValueError(f"{text!r}: write NAMESPACE/CLAIM=/absolute/directory")
        return cls(namespace=namespace, claim=claim, directory=Path(directory))


class _Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="MODEL_PROVISIONER_", extra="forbid", frozen=True)

    kubeconfig: Path | None = None
    watch_namespace: Words = Field(default_factory=list)

    @field_validator(
        "watch_namespace", "store", "allow_network", "allow_host", "cors_origin", mode="before", check_fields=False
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return [part for part in value.replace(",", " ").split() if part] if isinstance(value, str) else value


class OperatorSettings(_Settings):
    """`model-provisioner operator`. `instance` names this process in the Lease and in Events.

    `pod_uid` is None outside of a pod. With it, another operator can find out that this pod is gone.
    """

    store: Words = Field(default_factory=list, min_length=1)
    slots: int = Field(default=4, ge=1, le=64)
    max_bytes_per_second: int | None = Field(default=None, ge=1)
    endpoint: str = HUGGING_FACE
    allow_network: Words = Field(default_factory=list)
    allow_host: Words = Field(default_factory=list)
    ca_file: Path | None = None
    proxy: str | None = None
    directory_mode: str = "0755"
    file_mode: str = "0444"
    group: int | None = Field(default=None, ge=0)
    lease_namespace: str | None = None
    health_listen: str | None = None
    metrics_listen: str | None = None
    instance: str = Field(default_factory=socket.gethostname, validation_alias="POD_NAME")
    pod_uid: str | None = Field(default=None, validation_alias="POD_UID")

    @field_validator("store")
    @classmethod
    def _mounts(cls, value: list[str]) -> list[str]:
        claims = [(mount.namespace, mount.claim) for mount in map(Mount.parse, value)]
        if len(set(claims)) != len(claims):
            raise ValueError("a claim is given twice")
        return value

    @field_validator("max_bytes_per_second", mode="before")
    @classmethod
    def _quantity(cls, value: object) -> object:
        return parse_quantity(value) if isinstance(value, str) else value

    @field_validator("allow_network")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        return [str(parse_network(text)) for text in value]

    @field_validator("allow_host")
    @classmethod
    def _hosts(cls, value: list[str]) -> list[str]:
        return [str(parse_allowed_host(text)) for text in value]

    @field_validator("proxy")
    @classmethod
    def _proxy_with_hosts(cls, value: str | None, others: ValidationInfo) -> str | None:
        if value is not None and not others.data.get("allow_host"):
            raise ValueError(PROXY_NEEDS_HOSTS)
        return value

    @field_validator("directory_mode", "file_mode")
    @classmethod
    def _modes(cls, value: str) -> str:
        parse_mode(value)
        return value

    @property
    def modes(self) -> Modes:
        return Modes(parse_mode(self.directory_mode), parse_mode(self.file_mode), self.group)

    @property
    def mounts(self) -> tuple[Mount, ...]:
        return tuple(Mount.parse(text) for text in self.store)

    @property
    def policy(self) -> NetworkPolicy:
        """What sources may be reached beside the public internet; through a proxy, what may be reached at all."""
        networks = tuple(parse_network(text) for text in self.allow_network)
        hosts = tuple(parse_allowed_host(text) for text in self.allow_host)
        return NetworkPolicy(networks, hosts, only_listed=self.proxy is not None)

    @property
    def namespaces(self) -> list[str]:
        """The watched namespaces: those given, else the stores' own."""
        return self.watch_namespace or sorted({mount.namespace for mount in self.mounts})


class GatewaySettings(_Settings):
    """`model-provisioner gateway`. No watched namespace means all of them.

    `base_path` is empty, or starts with a slash and ends without one. Limits are numbers of open streams.
    """

    listen: str = "127.0.0.1:8081"
    default_namespace: str = Field(default_factory=lambda: own_namespace() or "default")
    lease_namespace: str | None = None
    auth: Literal["token", "none"] = "token"
    anonymous_writes: bool = False
    base_path: str = Field(default="", pattern=r"^(/[A-Za-z0-9._~-]+)*$")
    cors_origin: Words = Field(default_factory=list)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    max_streams: int = Field(default=2500, ge=1)
    max_streams_per_identity: int = Field(default=250, ge=1)

    @field_validator("cors_origin")
    @classmethod
    def _origins(cls, value: list[str]) -> list[str]:
        wrong = next((origin for origin in value if not _ORIGIN.fullmatch(origin)), None)
        if wrong is not None:
            raise ValueError(f"{wrong!r}: write an origin as browsers send it, such as https://dashboard.example")
        return value

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key are given together")
        if self.anonymous_writes and self.auth != "none":
            raise ValueError("--anonymous-writes is for --auth none; with tokens, callers write with their own rights")
        return self

    @property
    def operator_namespace(self) -> str:
        """Where the operator's Lease is."""
        return self.lease_namespace or own_namespace() or self.default_namespace


def own_namespace() -> str | None:
    """The namespace of the pod that this runs in; None outside of a cluster."""
    try:
        return _SERVICE_ACCOUNT_NAMESPACE.read_text().strip() or None
    except OSError:
        return None


def explain(error: ValidationError, flags: Mapping[str, Any]) -> str:
    """What is wrong with the settings, one line each, named as the user wrote them."""
    lines = []
    for problem in error.errors():
        if not problem["loc"]:
            lines.append(problem["msg"].removeprefix("Value error, "))
            continue
        field = str(problem["loc"][0])
        name = f"--{field.replace('_', '-')}" if field in flags else f"MODEL_PROVISIONER_{field.upper()}"
        lines.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)


def refuse(subcommand: str, why: str) -> int:
    """Prints `why` as argparse prints a wrong flag, and returns its exit code."""
    print(f"model-provisioner {subcommand}: {why}", file=sys.stderr)  # noqa: T201
    return 2
