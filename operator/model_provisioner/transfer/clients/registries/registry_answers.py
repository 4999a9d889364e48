"""Reads the answers of an OCI registry: manifests and tokens, neither of which is trusted to have its shape.

Called by `registry`, which sends the requests. Every function here is total: any bytes are a value, `Malformed`,
`TooLarge` or `UnknownManifest`. Sources: image-spec 1.1, manifest.md and image-index.md; distribution,
spec/auth/token.md.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec

from model_provisioner.domain.model_files.layers import Layer
from model_provisioner.domain.model_files.part_names import MAX_PARTS
from model_provisioner.domain.store.digest import Digest
from model_provisioner.transfer.clients.bodies import Malformed, TooLarge, decoded_json
from model_provisioner.transfer.clients.file_facts import MAX_SIZE

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST_TYPES = (MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST)
"""What is asked for, and what can be read."""
_INDEXES = frozenset({INDEX, DOCKER_LIST})
_MAX_LAYERS = MAX_PARTS + 100
_MAX_OBJECTS = 4 * _MAX_LAYERS
_MAX_TOKEN = 16 * 1024
_DEFAULT_SECONDS = 60.0  # distribution, spec/auth/token.md, `expires_in`
_MOST_SECONDS = 86400.0
_TOKEN = re.compile(r"[\x21-\x7e]+")

_Text = Annotated[str, msgspec.Meta(max_length=256)]
_Digest = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9]+([+._-][a-z0-9]+)*:[A-Za-z0-9=_-]{32,128}\Z")]
_Annotations = dict[str, str] | None


class UnknownManifest(Exception):
    """An answer of a kind that is not read. The text says which."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest, whose `digest` was computed from its bytes. `children` are the manifests of an index."""

    digest: Digest
    is_index: bool = False
    config: Layer | None = None
    layers: tuple[Layer, ...] = ()
    children: tuple[Layer, ...] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token, and for how many seconds it is valid from the request on."""

    value: str = field(repr=False)
    seconds: float


class _Descriptor(msgspec.Struct, rename="camel"):
    digest: _Digest
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
    media_type: _Text = ""
    annotations: _Annotations = None


class _Manifest(msgspec.Struct, rename="camel"):
    schema_version: int | None = None
    media_type: _Text | None = None
    config: _Descriptor | None = None
    layers: list[_Descriptor] | None = None
    manifests: list[_Descriptor] | None = None


class _Token(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    expires_in: float | None = None


class _Config(msgspec.Struct):
    remote_host: str | None = None


_MANIFEST = msgspec.json.Decoder(_Manifest)
_TOKENS = msgspec.json.Decoder(_Token)
_CONFIG = msgspec.json.Decoder(_Config)


def parse_manifest(body: bytes, content_type: str, digest: Digest) -> Manifest:
    """The manifest in `body`, of which `digest` is the SHA-256."""
    told = content_type.partition(";")[0].strip().lower()
    if body.count(b"{") > _MAX_OBJECTS:  # before memory is used for each of them
        raise TooLarge(f"more than {_MAX_LAYERS:,} layers")
    found = decoded_json(_MANIFEST, body)
    kind = _kind(found, told)
    entries = found.manifests if kind in _INDEXES else found.layers
    if entries is None:
        raise Malformed("a manifest without layers")
    if len(entries) > _MAX_LAYERS:
        raise TooLarge(f"more than {_MAX_LAYERS:,} layers")
    layers = tuple(map(_layer, entries))
    if kind in _INDEXES:
        return Manifest(digest, is_index=True, children=layers)
    return Manifest(digest, config=_layer(found.config) if found.config else None, layers=layers)


def _kind(found: _Manifest, told: str) -> str:
    """The type of a manifest. Some servers tell it neither in the body nor in the header: then its fields do."""
    if found.schema_version == 1:
        raise UnknownManifest("a manifest of version 1, which has no sizes: push it again with a present program")
    if found.media_type and told in MANIFEST_TYPES and told != found.media_type:
        raise Malformed(f"a manifest that is {found.media_type!a} in the body and {told!a} in the header")
    kind = found.media_type or (told if told in MANIFEST_TYPES else INDEX if found.manifests else MANIFEST)
    if kind not in MANIFEST_TYPES:
        raise UnknownManifest(f"{kind!a}, which is no manifest of an artifact")
    return kind


def parse_token(body: bytes) -> Token:
    """The answer of a token server. A lifetime that makes no sense is the usual one."""
    found = decoded_json(_TOKENS, body)
    value = found.token or found.access_token or ""
    if not _TOKEN.fullmatch(value) or len(value) > _MAX_TOKEN:
        raise Malformed("no token")
    seconds = found.expires_in
    return Token(value, seconds if seconds is not None and 0 < seconds <= _MOST_SECONDS else _DEFAULT_SECONDS)


def is_remote(body: bytes) -> bool:
    """Whether the configuration of a model of Ollama says that it runs elsewhere (ollama, types/model/config.go)."""
    return bool(decoded_json(_CONFIG, body).remote_host)


def is_index(layer: Layer) -> bool:
    return layer.media_type in _INDEXES


def _layer(one: _Descriptor) -> Layer:
    annotations: Mapping[str, str] = one.annotations or {}
    return Layer(one.media_type, one.digest, one.size, annotations)
