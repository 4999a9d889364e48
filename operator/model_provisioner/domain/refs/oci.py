"""Refs of models in OCI registries: `oci://<registry>/<repository>[:<tag>|@sha256:<digest>]`.

Source: distribution-spec 1.1, spec.md, "Pulling manifests"; the registry's host must be written, because a name without
one means another registry to each program.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

from model_provisioner.domain.credentials.secret_keys import BASIC, DOCKER, SecretKind
from model_provisioner.domain.errors import AddressNotAllowed, InvalidRef
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.refs.https import host_directory
from model_provisioner.domain.refs.model_ref import ModelRef, check_no_login, shown

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)+|localhost)(?::[0-9]{1,5})?|[a-z0-9_-]+:[0-9]{1,5}")
_MAX_REPOSITORY = 255
_MAX_HOST = 246  # with its port; a name in DNS has 253 characters at most, a directory 255


@dataclass(frozen=True, slots=True)
class OciRef(ModelRef):
    """An artifact in a registry. `registry` is `host[:port]`; at most one of `tag` and `digest` is set."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    schemes = ("oci",)
    root = "oci"
    spelling = "oci://<registry>/<repository>[:<tag> or @sha256:<digest>]"
    secret_kinds: ClassVar[tuple[SecretKind, ...]] = (DOCKER, BASIC)

    @classmethod
    def parse(cls, text: str) -> Self:
        check_no_login(text, BASIC.keys)
        registry, slash, rest = text.removeprefix("oci://").partition("/")
        if not text.startswith("oci://") or not slash or not _is_host(registry):
            raise InvalidRef(
                f"{shown(text)}: the host of the registry comes first, in lower case: write {cls.spelling}, such as "
                "oci://docker.io/ai/smollm2"
            )
        name, at, digest = rest.partition("@")
        repository, colon, tag = name.partition(":")
        if not _REPOSITORY.fullmatch(repository) or len(repository) > _MAX_REPOSITORY:
            raise InvalidRef(
                f"{shown(text)}: {shown(repository)} is not the name of a repository: write {cls.spelling}"
            )
        if colon and at:
            raise InvalidRef(f"{shown(text)} has a tag and a digest, of which one is enough: write {cls.spelling}")
        if (colon and not _TAG.fullmatch(tag)) or (at and not _DIGEST.fullmatch(digest)):
            raise InvalidRef(
                f"{shown(text)}: after : stands a tag of at most 128 letters, digits, '.', '_' and '-', after @ stands "
                f"sha256: and 64 lower-case hexadecimal digits: write {cls.spelling}"
            )
        return cls(registry, repository, tag if colon else None, digest if at else None)

    @property
    def reference(self) -> str:
        """What the manifest is asked for by."""
        return self.digest or self.tag or "latest"

    @property
    def words(self) -> str:
        return f"{self.repository.rpartition('/')[2]} {self.tag or ''}"

    @property
    def endpoint(self) -> str:
        return f"https://{self.registry}"

    def directory(self, endpoint: str | None) -> str:  # noqa: ARG002 - it is asked at its own place
        host = host_directory(Origin.of(self.endpoint))
        return f"{self.root}/{host}/{self.repository}/{self.reference.replace(':', '-')}"

    def __str__(self) -> str:
        end = f"@{self.digest}" if self.digest else f":{self.tag}" if self.tag else ""
        return f"oci://{self.registry}/{self.repository}{end}"


def _is_host(registry: str) -> bool:
    """Whether it is the host of a registry: one with a dot or a port, or localhost, as docker tells them from names."""
    if not _HOST.fullmatch(registry) or len(registry) > _MAX_HOST:
        return False
    try:
        return str(Origin.of(f"https://{registry}")) == f"https://{registry}"
    except AddressNotAllowed:
        return False
