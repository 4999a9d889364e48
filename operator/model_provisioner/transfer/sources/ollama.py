"""Resolves `ollama:` refs: models of the Ollama registry, or of another server that has its interface.

Called by `resolver`. The requests are sent by `registry`. A model is one GGUF file, in the layer of the type
`application/vnd.ollama.image.model`, whose digest is that of the file; a model that sees may have another one, its
projector. Source: ollama, server/images.go. The key of Ollama that signs requests for private models is not known
here: those need a server that takes a bearer token.
"""

from collections.abc import Mapping

from model_provisioner.aio.parallel import in_parallel
from model_provisioner.domain.errors import UnsupportedSource
from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.model_facts import OllamaSettings
from model_provisioner.domain.model_files.layers import OLLAMA_MODEL, PROJECTOR_FILE, Layer, projector_files
from model_provisioner.domain.model_files.ollama_settings import settings, settings_layers, short_enough
from model_provisioner.domain.model_files.projectors import projector_in_artifact
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.refs.ollama import OllamaRef
from model_provisioner.domain.store.paths import store_path
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.clients.bodies import Malformed
from model_provisioner.transfer.clients.registries.registry import RegistryClient
from model_provisioner.transfer.clients.registries.registry_answers import Manifest, is_remote
from model_provisioner.transfer.clients.registries.registry_replies import Registry
from model_provisioner.transfer.http.echoes import redacted_errors
from model_provisioner.transfer.sources.oci import address_of, file_digest
from model_provisioner.transfer.sources.source import Asked, Resolved, Source, identity, with_expected_digest

_FILE = "model.gguf"
_TENSORS = frozenset({"application/vnd.ollama.image.tensor", "application/vnd.ollama.image.json"})
_MAX_CONFIG_BYTES = 256 * 1024
_PARALLEL_REQUESTS = 3


class Ollama(Source[OllamaRef]):
    """Models of an Ollama registry."""

    finds_projectors = True

    async def resolve(self, asked: Asked[OllamaRef]) -> Resolved:
        """Raises what `RegistryClient` raises, UnsupportedSource for a model without a GGUF file, and what
        `projector_in_artifact` and `with_expected_digest` raise.
        """
        client = self._client(asked)
        with redacted_errors(lambda: self._tools.client.redaction(asked.credentials, client.secrets)):
            manifest = await client.manifest(asked.revision or asked.ref.reference)
            models = [layer for layer in manifest.layers if layer.media_type == OLLAMA_MODEL]
            if not models:
                raise UnsupportedSource(f"{asked.ref} {await _reason(client, manifest)}: name a model in GGUF")
            if len(models) > 1:
                raise UnsupportedSource(
                    f"{asked.ref} has {len(models)} files of weights, and one is read: name another"
                )
            files = (_planned(asked, _FILE, models[0], FileRole.MODEL), *_projector(asked, manifest))
            plan = Plan(str(asked.ref), str(manifest.digest), with_expected_digest(files, asked.digest))
            return Resolved(plan, ollama=await self._settings(asked, client, settings_layers(manifest.layers)))

    async def address(self, asked: Asked[OllamaRef], file: PlannedFile) -> Address:
        """The blob at the registry, which redirects to where it is for a while."""
        return await address_of(self._client(asked), file)

    async def _settings(
        self, asked: Asked[OllamaRef], client: RegistryClient, layers: Mapping[str, Layer]
    ) -> OllamaSettings | None:
        """What is in `layers`. Raises what `RegistryClient.checked_blob` raises, as for the model itself."""
        if not layers:
            return None

        async def content(field: str) -> bytes:
            return await client.checked_blob(file_digest(layers[field]), f"the {field}")

        fields = list(short_enough(layers))
        contents = dict(zip(fields, await in_parallel(_PARALLEL_REQUESTS, content, fields), strict=True))
        redaction = self._tools.client.redaction(asked.credentials, client.secrets)
        return await self._tools.reading.run(lambda: settings(layers.keys(), contents, redaction.is_in))

    def _client(self, asked: Asked[OllamaRef]) -> RegistryClient:
        url = asked.endpoint.rstrip("/")
        registry = Registry(url, Origin.of(url), asked.ref.repository, str(asked.ref))
        return RegistryClient(self._tools.client, registry, asked.credentials)


async def _reason(client: RegistryClient, manifest: Manifest) -> str:
    """Why a model has no GGUF file: a clause after its name."""
    if any(layer.media_type in _TENSORS for layer in manifest.layers):
        return "has its weights as separate tensors (MLX), which only Ollama reads"
    config = manifest.config
    if config is not None and config.size <= _MAX_CONFIG_BYTES:
        try:
            if is_remote(await client.small_blob(config.digest)):
                return "runs in Ollama's cloud and has no weights to fetch"
        except Malformed:
            pass
    return "has no layer with weights"


def _projector(asked: Asked[OllamaRef], manifest: Manifest) -> tuple[PlannedFile, ...]:
    """The file of the projector, if it is wanted."""
    if not asked.projector:
        return ()
    found = projector_files(manifest.layers)
    layer = found[projector_in_artifact(list(found), _FILE, str(asked.ref))]
    return (_planned(asked, PROJECTOR_FILE, layer, FileRole.PROJECTOR),)


def _planned(asked: Asked[OllamaRef], name: str, layer: Layer, role: FileRole) -> PlannedFile:
    ref, own = asked.ref, asked.own_endpoint
    source = f"ollama:{ref.repository}:{ref.reference}" + (f":{name}" if role is FileRole.PROJECTOR else "")
    return PlannedFile(
        path=store_path(ref, name, asked.endpoint, own=own),
        size=layer.size,
        digest=file_digest(layer),
        source=identity(source, asked.endpoint, own=own),
        url=None,
        endpoint=asked.endpoint,
        digest_published=True,
        signed=True,
        role=role,
    )
