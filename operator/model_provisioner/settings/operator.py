"""The settings of `model-provisioner operator`, which `controller.command` reads and `controller.app` acts on."""

import socket
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from model_provisioner.domain import scope
from model_provisioner.domain.annotations import GATE
from model_provisioner.domain.credentials.ambient import EVERY_BUCKET
from model_provisioner.domain.engines.engine import Engine
from model_provisioner.domain.engines.engines import ENGINES
from model_provisioner.domain.engines.served_model import MOUNT_PATH_RULE, is_mount_path
from model_provisioner.domain.network.addresses import (
    HostPort,
    NetworkPolicy,
    Origin,
    parse_allowed_host,
    parse_endpoint,
    parse_network,
)
from model_provisioner.domain.network.buckets import is_bucket_name
from model_provisioner.domain.network.endpoints import Endpoints, named_endpoints
from model_provisioner.domain.network.proxy import PROXY_NEEDS_HOSTS, parse_no_proxy
from model_provisioner.domain.quantity import parse_quantity
from model_provisioner.domain.refs.refs import ENDPOINTS
from model_provisioner.domain.store.modes import Modes, parse_mode
from model_provisioner.settings.common import Kubeconfig, StringList, own_namespace
from model_provisioner.settings.flags import Metavar
from model_provisioner.settings.workers import WorkerPodSettings

OLLAMA = "ollama"
NO_STORE = "none"


class Mount(BaseModel):
    """One store: a claim and the directory at which this process sees it."""

    model_config = ConfigDict(frozen=True)

    namespace: str
    claim: str
    directory: Path

    @classmethod
    def parse(cls, text: str) -> "Mount":
        """`NAMESPACE/CLAIM=DIR`. Raises ValueError."""
        full_claim, equals, directory = text.partition("=")
        namespace, slash, claim = full_claim.partition("/")
        if not (equals and slash and namespace and claim and directory.startswith("/")) or "/" in claim:
            raise ValueError(f"{text!r}: write NAMESPACE/CLAIM=/absolute/directory")
        return cls(namespace=namespace, claim=claim, directory=Path(directory))


class OperatorSettings(WorkerPodSettings):
    """`instance` names this process in the Lease and in Events; it has no flag.

    `pod_uid` is None outside of a pod. With it, another operator can find out that this pod is gone.
    """

    watch_namespace: Annotated[StringList, Metavar("NS")] = Field(
        default_factory=list, description="namespace to serve (repeatable; *: every one; default: the stores' own)"
    )
    store: Annotated[StringList, Metavar("NAMESPACE/CLAIM=DIR|none")] = Field(
        default_factory=list,
        min_length=1,
        description="a claim and where it is mounted (repeatable; the first is its namespace's default), or none",
    )
    slots: Annotated[int, Metavar("N")] = Field(default=4, ge=1, le=64, description="downloads at one time (default 4)")
    max_bytes_per_second: Annotated[int | None, Metavar("QUANTITY")] = Field(
        default=None,
        ge=1,
        description="the most that all downloads together may take in a second, such as 100Mi (default: no limit)",
    )
    endpoint: Annotated[StringList, Metavar("SCHEME=URL")] = Field(
        default_factory=list,
        description=f"where models of a source are asked for: {', '.join(ENDPOINTS)} (repeatable; a bare URL means hf; "
        "default: the public one of each)",
    )
    response_timeout: Annotated[int, Metavar("SECONDS")] = Field(
        default=90,
        ge=1,
        le=3600,
        description="how long a source may take to begin a response, 1 to 3600 (default 90)",
    )
    allow_network: Annotated[StringList, Metavar("CIDR")] = Field(
        default_factory=list, description="private network that sources may be in (repeatable)"
    )
    allow_host: Annotated[StringList, Metavar("HOST[:PORT]")] = Field(
        default_factory=list,
        description="host, or *.NAME, that sources may be on although it is private, over http too (repeatable)",
    )
    allow_endpoint: Annotated[StringList, Metavar("URL")] = Field(
        default_factory=list,
        description="another hub that a ModelDownload may name as endpoint: exactly this URL, with its path "
        "(repeatable; its host is allowed too)",
    )
    ambient_credentials: Annotated[StringList, Metavar("BUCKET", bare=EVERY_BUCKET)] = Field(
        default_factory=list,
        description="bucket that is read with the access key of this pod itself (IRSA, EKS Pod Identity) for objects "
        "that name no Secret (repeatable; without a value: every bucket)",
    )
    ca_file: Annotated[Path | None, Metavar("FILE")] = Field(
        default=None, description="certificates to trust for sources, in addition to the system's"
    )
    proxy: Annotated[str | None, Metavar("URL|@FILE")] = Field(
        default=None,
        description="go to sources through this proxy; needs --allow-host. @FILE holds the URL of one with a password",
    )
    no_proxy: Annotated[StringList, Metavar("HOST[:PORT]|.NAME|CIDR")] = Field(
        default_factory=list,
        description="host, names below NAME, or addresses to connect to without the proxy "
        "(repeatable; --allow-host as well)",
    )
    directory_mode: Annotated[str, Metavar("MODE")] = Field(
        default="0755", description="of directories on the volume (default 0755)"
    )
    file_mode: Annotated[str, Metavar("MODE")] = Field(
        default="0444", description="of models on the volume (default 0444)"
    )
    view: Annotated[StringList, Metavar("ENGINE")] = Field(
        default_factory=list,
        description=f"engine that finds the models in a layout of its own, in views/ENGINE on the volume: {OLLAMA} "
        "(repeatable; default: none, and views are removed)",
    )
    group: Annotated[int | None, Metavar("GID")] = Field(
        default=None, ge=0, description="that models and directories belong to"
    )
    catalog_engine: Annotated[StringList, Metavar("ENGINE")] = Field(
        default_factory=list,
        description=f"write a ConfigMap of the ready models for an engine: {', '.join(ENGINES)} (repeatable)",
    )
    mount_path: Annotated[str, Metavar("DIR")] = Field(
        default="/models", description="where servers of models mount the claim (default /models)"
    )
    lease_namespace: Annotated[str | None, Metavar("NS")] = Field(
        default=None,
        description="where the Lease is (default: this pod's namespace, else the first store's, else the first served)",
    )
    replicas: Annotated[int, Metavar("N")] = Field(
        default=1,
        ge=1,
        le=5,
        description="operators that share the Lease: of several, one that waits is ready, and acts sooner (default 1)",
    )
    health_listen: Annotated[str | None, Metavar("HOST:PORT")] = Field(
        default=None, description="serve /healthz and /readyz there"
    )
    metrics_listen: Annotated[str | None, Metavar("HOST:PORT")] = Field(
        default=None, description="serve /metrics there, for Prometheus"
    )
    gates: bool = Field(
        default=False, description=f"open the scheduling gate {GATE} of pods when the models that they name are Ready"
    )
    create_models: bool = Field(
        default=False, description="with --gates: create a ModelDownload for a ref that a pod names and no object has"
    )
    node_name: Annotated[str | None, Metavar("NODE")] = Field(
        default=None,
        description="with --gates: the node of this pod, on which the workers of a volume for one node must run too",
    )
    kubeconfig: Kubeconfig = None
    instance: str = Field(default_factory=socket.gethostname, validation_alias="POD_NAME")
    pod_uid: str | None = Field(default=None, validation_alias="POD_UID")

    @field_validator("watch_namespace")
    @classmethod
    def _check_namespaces(cls, value: list[str]) -> list[str]:
        scope.check(value)
        return value

    @field_validator("store")
    @classmethod
    def _check_mounts(cls, value: list[str]) -> list[str]:
        if value == [NO_STORE]:
            return value
        if NO_STORE in value:
            raise ValueError("none stands alone: it means that this operator mounts no volume")
        claims = [(mount.namespace, mount.claim) for mount in map(Mount.parse, value)]
        if len(set(claims)) != len(claims):
            raise ValueError("a claim is given twice")
        return value

    @field_validator("max_bytes_per_second", mode="before")
    @classmethod
    def _parse_quantity(cls, value: object) -> object:
        return parse_quantity(value) if isinstance(value, str) else value

    @field_validator("endpoint")
    @classmethod
    def _normalize_own_endpoints(cls, value: list[str]) -> list[str]:
        return [f"{scheme}={url}" for scheme, url in named_endpoints(value, ENDPOINTS).items()]

    @field_validator("allow_network")
    @classmethod
    def _normalize_networks(cls, value: list[str]) -> list[str]:
        return [str(parse_network(text)) for text in value]

    @field_validator("allow_host")
    @classmethod
    def _normalize_hosts(cls, value: list[str]) -> list[str]:
        return [str(parse_allowed_host(text)) for text in value]

    @field_validator("allow_endpoint")
    @classmethod
    def _normalize_endpoints(cls, value: list[str]) -> list[str]:
        return [parse_endpoint(text) for text in value]

    @field_validator("ambient_credentials")
    @classmethod
    def _check_buckets(cls, value: list[str]) -> list[str]:
        for name in value:
            if name != EVERY_BUCKET and not is_bucket_name(name):
                raise ValueError(f"{name[:80]!r} is not the name of a bucket")
        return value

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, value: str | None, others: ValidationInfo) -> str | None:
        """`allow_host` is among the `others` only if it is valid and stands above `proxy` in the class."""
        if value is not None and not others.data.get("allow_host"):
            raise ValueError(PROXY_NEEDS_HOSTS)
        return value

    @field_validator("no_proxy")
    @classmethod
    def _normalize_no_proxy(cls, value: list[str]) -> list[str]:
        return [str(entry) for text in value for entry in parse_no_proxy(text)]

    @field_validator("directory_mode", "file_mode")
    @classmethod
    def _check_mode(cls, value: str) -> str:
        parse_mode(value)
        return value

    @field_validator("catalog_engine")
    @classmethod
    def _check_engines(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in ENGINES:
                raise ValueError(f"{name[:80]!r} is not one of {', '.join(ENGINES)}")
        return list(dict.fromkeys(value))

    @field_validator("mount_path")
    @classmethod
    def _check_mount_path(cls, value: str) -> str:
        if not is_mount_path(value):
            raise ValueError(f"{value[:80]!r}: write an absolute path, such as /models, of {MOUNT_PATH_RULE}")
        return value

    @field_validator("view")
    @classmethod
    def _check_views(cls, value: list[str]) -> list[str]:
        for name in value:
            if name != OLLAMA:
                raise ValueError(f"{name[:80]!r} has no view: write {OLLAMA}")
        return value

    @model_validator(mode="after")
    def _check_scope(self) -> Self:
        """Without a store, no namespace follows from it."""
        if not self.namespaces:
            raise ValueError("--store none says nothing about namespaces: name those to serve with --watch-namespace")
        if self.operator_namespace == scope.EVERY_NAMESPACE:
            raise ValueError("nothing says which namespace has the Lease: name it with --lease-namespace")
        return self

    @property
    def modes(self) -> Modes:
        return Modes(parse_mode(self.directory_mode), parse_mode(self.file_mode), self.group)

    @property
    def mounts(self) -> tuple[Mount, ...]:
        return tuple(Mount.parse(text) for text in self.store if text != NO_STORE)

    @property
    def policy(self) -> NetworkPolicy:
        """What sources may be reached beside the public internet; through a proxy, what may be reached at all."""
        networks = tuple(parse_network(text) for text in self.allow_network)
        hosts = tuple(parse_allowed_host(text) for text in self.allow_host)
        return NetworkPolicy(networks, hosts, only_listed=self.proxy is not None)

    @property
    def engines(self) -> tuple[Engine, ...]:
        return tuple(ENGINES[name] for name in self.catalog_engine)

    @property
    def endpoints(self) -> Endpoints:
        """The own endpoint of each source, and those that `spec.endpoint` may name."""
        own = {**ENDPOINTS, **named_endpoints(self.endpoint, ENDPOINTS)}
        return Endpoints(own, tuple(self.allow_endpoint), self.policy.allowed_hosts)

    @property
    def source_hosts(self) -> list[str]:
        """The hosts that sources may be on although they are private: the allowed ones, and those of listed hubs."""
        origins = [Origin.of(url) for url in self.allow_endpoint]
        return [*self.allow_host, *(str(HostPort(origin.host, origin.port)) for origin in origins)]

    @property
    def operator_namespace(self) -> str:
        """The namespace of the Lease."""
        return self.lease_namespace or own_namespace() or [*(one.namespace for one in self.mounts), *self.namespaces][0]

    @property
    def namespaces(self) -> list[str]:
        """The watched namespaces: the given ones, else those of the stores."""
        return self.watch_namespace or sorted({mount.namespace for mount in self.mounts})
