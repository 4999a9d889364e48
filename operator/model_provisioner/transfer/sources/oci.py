"""Resolves `oci:` refs: an artifact in a registry whose layers are GGUF files.

Docker Model Runner, KitOps, oras and the programs of ModelPack push such artifacts.

Called by `resolver`. The requests are sent by `registry`; which layers are models is decided in
`domain.model_files.layers`. The digest of a layer is that of its file, so every file is known before it is fetched. A
file in an archive is known by its place there (`archives`).
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from model_provisioner.domain.errors import AmbiguousModel, ProvisionError, SourceUnavailable, UnsupportedSource
from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.model_files.layers import Layer, archives, gguf_files, projector_files, without_gguf
from model_provisioner.domain.model_files.projectors import is_projector, projector_in_artifact
from model_provisioner.domain.model_files.selection import select
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.refs.oci import OciRef
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.paths import store_path
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.clients.registries.registry import RegistryClient
from model_provisioner.transfer.clients.registries.registry_answers import Manifest, is_index
from model_provisioner.transfer.clients.registries.registry_replies import Registry
from model_provisioner.transfer.http.echoes import redacted_errors
from model_provisioner.transfer.sources.archives import Archived, archived_files, check_around
from model_provisioner.transfer.sources.source import Asked, Resolved, Source, with_expected_digest

_DOCKER_HUB = frozenset({"https://docker.io", "https://index.docker.io"})
_DOCKER_HUB_REGISTRY = "https://registry-1.docker.io"
_MAX_CHILDREN = 16
_ATTESTATION = "vnd.docker.reference.type"
_REGISTRY_STATUSES = frozenset({200, 401})


class Oci(Source[OciRef]):
    """Artifacts in OCI registries. A registry without TLS is asked if the administrator lists its host."""

    finds_projectors = True

    async def resolve(self, asked: Asked[OciRef]) -> Resolved:
        """Raises what `RegistryClient` raises, UnsupportedSource for an artifact without GGUF files, AmbiguousModel for
        one with several models, IncompleteModel, and what `projector_in_artifact` and `with_expected_digest` raise.
        """
        client = RegistryClient(self._tools.client, _registry(asked), asked.credentials)
        reference = asked.revision or asked.ref.reference
        try:
            return await self._resolve(asked, client, reference)
        except SourceUnavailable:
            if client.answered or not await self._is_plain(asked.ref):
                raise
        plain = f"http://{asked.ref.registry}"
        client = RegistryClient(self._tools.client, _registry(asked, plain), asked.credentials)
        return await self._resolve(asked, client, reference, plain)

    async def address(self, asked: Asked[OciRef], file: PlannedFile) -> Address:
        """The blob at the registry, with a token if the registry asks for one."""
        registry = _registry(asked, asked.endpoint)
        return await address_of(RegistryClient(self._tools.client, registry, asked.credentials), file)

    async def _resolve(
        self, asked: Asked[OciRef], client: RegistryClient, reference: str, endpoint: str | None = None
    ) -> Resolved:
        with redacted_errors(lambda: self._tools.client.redaction(asked.credentials, client.secrets)):
            top = await client.manifest(reference)
            manifest = await _artifact(asked.ref, client, top) if top.is_index else top
            found = await _files(asked.ref, client, manifest)
            chosen = _one_model(asked.ref, list(found))
            roles = dict.fromkeys(chosen, FileRole.MODEL)
            if asked.projector:
                projectors = _projectors(manifest, found, chosen)
                found |= projectors
                roles[projector_in_artifact(list(projectors), chosen[0], str(asked.ref))] = FileRole.PROJECTOR
            files = tuple(
                _planned(asked, name, found[name], endpoint or asked.endpoint, role) for name, role in roles.items()
            )
            await self._tools.reading.run(lambda: client.check_echo(files))
        return Resolved(Plan(str(asked.ref), str(top.digest), with_expected_digest(files, asked.digest)))

    async def _is_plain(self, ref: OciRef) -> bool:
        """Whether a registry answers without TLS, and may be asked so: the guard of the client decides that."""
        with suppress(ProvisionError):
            replies = await self._tools.client.headers("GET", f"http://{ref.registry}/v2/", {}, None)
            return replies[-1].status in _REGISTRY_STATUSES
        return False


async def address_of(client: RegistryClient, file: PlannedFile) -> Address:
    """Where the blob of `file` is, by its digest."""
    if file.sent_digest is None:
        raise UnsupportedSource(f"{file.path} has no digest, and a registry has its files by digest only")
    return await client.blob_address(file.sent_digest)


def file_digest(layer: Layer) -> Digest:
    """The digest of the file that `layer` is. Raises UnsupportedSource if it is no SHA-256."""
    try:
        return Digest.parse(layer.digest)
    except ValueError:
        raise UnsupportedSource(
            f"the layer {layer.digest[:40]!a} is not named by a SHA-256: push the model with sha256 digests"
        ) from None


async def _files(ref: OciRef, client: RegistryClient, manifest: Manifest) -> dict[str, Layer | Archived]:
    """The GGUF files of an artifact by their names: its layers, else what is in its archives."""
    if found := gguf_files(manifest.layers):
        return {**found}
    packed = archives(manifest.layers)
    if not packed:
        raise UnsupportedSource(f"{ref} {without_gguf(manifest.layers)}")
    return {**await archived_files(client, str(ref), [(layer, file_digest(layer)) for layer in packed])}


async def _artifact(ref: OciRef, client: RegistryClient, index: Manifest) -> Manifest:
    """The one manifest of `index` that has GGUF files, whatever platform it is for: a model has none."""
    children = [child for child in index.children if _ATTESTATION not in child.annotations]
    if len(children) > _MAX_CHILDREN:
        raise UnsupportedSource(f"{ref} is an index of {len(children)} artifacts: name one by @sha256:…")
    manifests = [await client.manifest(child.digest) for child in children if not is_index(child)]
    if any(manifest.is_index for manifest in manifests) or (not manifests and children):
        raise UnsupportedSource(f"{ref} is an index of other indexes: name an artifact in it by @sha256:…")
    models = {files: one for one in manifests if (files := _identity(one))}
    if len(models) > 1:
        names = ", ".join(f"@{one.digest}" for one in models.values())
        raise AmbiguousModel(f"{ref} is an index of {len(models)} models: name one by its digest: {names}")
    if not models:
        layers = [layer for one in manifests for layer in one.layers]
        raise UnsupportedSource(f"{ref} {without_gguf(layers)}")
    return next(iter(models.values()))


def _identity(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """Names and digests of the files: those of several platforms may be the same."""
    plain = tuple((name, layer.digest) for name, layer in gguf_files(manifest.layers).items())
    return plain or tuple((layer.name, layer.digest) for layer in archives(manifest.layers))


def _one_model(ref: OciRef, found: Sequence[str]) -> Sequence[str]:
    try:
        return select(found, None)
    except AmbiguousModel:
        names = ", ".join(ascii(name[:120]) for name in found[:_MAX_CHILDREN])
        raise AmbiguousModel(
            f"{ref} has {len(found)} models, {names}: push each of them as an artifact of its own, with a tag"
        ) from None


def _projectors(
    manifest: Manifest, found: Mapping[str, Layer | Archived], model: Sequence[str]
) -> dict[str, Layer | Archived]:
    """The projectors of an artifact by their names; none of the files of `model`, which may have such a type too."""
    packed = {name: file for name, file in found.items() if isinstance(file, Archived) and is_projector(name)}
    return {name: file for name, file in (packed | projector_files(manifest.layers)).items() if name not in model}


def _planned(asked: Asked[OciRef], name: str, file: Layer | Archived, endpoint: str, role: FileRole) -> PlannedFile:
    ref = asked.ref
    if isinstance(file, Archived):
        check_around(str(ref), name, file)
    archive = file.archive if isinstance(file, Archived) else None
    digest = file_digest(file) if isinstance(file, Layer) else None
    return PlannedFile(
        path=store_path(ref, name),
        size=file.size,
        digest=digest,
        source=f"oci:{ref.registry}/{ref.repository}:{name}",
        url=None,
        endpoint=endpoint,
        digest_published=digest is not None,
        signed=True,
        archive=archive,
        role=role,
    )


def _registry(asked: Asked[OciRef], url: str | None = None) -> Registry:
    """`url` is that of a registry without TLS. Docker Hub is asked at its own hosts, and has names without a slash."""
    ref, named = asked.ref, url or asked.ref.endpoint
    if named in _DOCKER_HUB:
        repository = ref.repository if "/" in ref.repository else f"library/{ref.repository}"
        return Registry(_DOCKER_HUB_REGISTRY, Origin.of("https://docker.io"), repository, str(ref))
    return Registry(named, Origin.of(named), ref.repository, str(ref))
