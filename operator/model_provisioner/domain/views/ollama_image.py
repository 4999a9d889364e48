"""Builds what Ollama reads of a model: the blob with its configuration, its layers, and its manifest.

`viewed_model` makes of a Ready object what the operator sends to the store worker (`worker_protocol.requests.View`);
`transfer.views.ollama` renders it. Sources: ollama, server/images.go (`GetModel`), types/model/config.go,
manifest/manifest.go, format/format.go. Ollama ignores keys that it does not know: our annotations in the manifest say
whose it is.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from model_provisioner.domain.annotations import GROUP
from model_provisioner.domain.gguf.servable import why_not_served
from model_provisioner.domain.model_facts import FileRecord, GGUFSummary, OllamaSettings
from model_provisioner.domain.model_files.layers import OLLAMA_MODEL
from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.views.ollama_model import FileLayer, TextLayer, ViewedModel
from model_provisioner.domain.views.ollama_names import names

MAX_MANIFEST_BYTES = 64 * 1024
"""Ours have less than 3 KiB. A longer manifest is that of another program."""

_TYPE = "application/vnd.ollama.image."
_PROJECTOR = f"{_TYPE}projector"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CLAIM, _MODEL = f"{GROUP}/claim", f"{GROUP}/model"


@dataclass(frozen=True, slots=True)
class FoundManifest:
    """A manifest on the volume.

    `claim` (`namespace/name`) and `owner` are those of our annotations; None in a manifest of another program.
    """

    claim: str | None
    owner: str | None
    digests: frozenset[Digest]


def viewed_model(download: ModelDownload, model: Model) -> ViewedModel | str:
    """The Ready `model` of the object `download`, or why Ollama can't read it: the end of a message."""
    found = names(download, model)
    projector = model.projector_path
    weights = [file for file in model.files if file.path != projector]
    if why := why_not_served(model.gguf):
        return why
    if len(weights) != 1:
        return "is split into several files, which Ollama does not read"
    if not all(map(_has_digest, model.files)):
        return "has a file without a digest"
    if not found:
        return "has no name that Ollama accepts: it takes at most 80 letters, digits, '_', '-' and '.'"
    projectors = [FileLayer(_PROJECTOR, file) for file in model.files if file.path == projector]
    files = (FileLayer(OLLAMA_MODEL, weights[0]), *projectors)
    config = TextLayer(_CONFIG, _config(model.gguf or GGUFSummary(), files))
    return ViewedModel(f"{download.namespace}/{download.name}", found, config, files, _texts(model.ollama))


def manifest(model: ViewedModel, claim: str) -> bytes:
    """The manifest of `model`, which is on `claim` (`namespace/name`)."""
    layers = [_descriptor(layer.media_type, layer.digest, layer.file.size_bytes) for layer in model.files]
    layers += [_descriptor(layer.media_type, layer.digest, len(layer.content)) for layer in model.texts]
    config = _descriptor(model.config.media_type, model.config.digest, len(model.config.content))
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": config,
            "layers": layers,
            "annotations": {_CLAIM: claim, _MODEL: model.owner},
        }
    ).encode()


def read_manifest(data: bytes) -> FoundManifest | None:
    """Reads a manifest, ours or another program's; None if it is none. Another program may have written anything."""
    try:
        document = json.loads(data)
        annotations = document.get("annotations") or {}
        described = [document["config"], *document["layers"]]
        digests = frozenset(Digest.parse(layer["digest"]) for layer in described)
        claim, owner = annotations.get(_CLAIM), annotations.get(_MODEL)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    is_ours = isinstance(claim, str) and isinstance(owner, str)
    return FoundManifest(claim if is_ours else None, owner if is_ours else None, digests)


def _has_digest(file: FileRecord) -> bool:
    """An editor can write anything into a status."""
    try:
        Digest.parse(file.digest or "")
    except ValueError:
        return False
    return True


def _config(gguf: GGUFSummary, files: tuple[FileLayer, ...]) -> str:
    family = gguf.architecture or ""
    return _json(
        {
            "model_format": "gguf",
            "model_family": family,
            "model_families": [family] if family else [],
            "model_type": parameter_size(gguf.parameters or 0),
            "file_type": gguf.quantization or "unknown",
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [str(layer.digest) for layer in files]},
        }
    )


def _texts(settings: OllamaSettings | None) -> tuple[TextLayer, ...]:
    if settings is None:
        return ()
    found = {"template": settings.template, "system": settings.system, "params": settings.parameters}
    return tuple(TextLayer(_TYPE + kind, text) for kind, text in found.items() if text)


def parameter_size(parameters: int) -> str:
    """The number of parameters as `ollama list` and `ollama show` write it, such as `1.1B` and `134.52M`."""
    if parameters < 1_000_000:
        return f"{parameters / 1000:.0f}K" if parameters >= 1000 else str(parameters)
    unit, letter, places = (10**9, "B", 1) if parameters >= 10**9 else (10**6, "M", 2)
    return f"{parameters / unit:.{0 if parameters % unit == 0 else places}f}{letter}"


def _descriptor(media_type: str, digest: Digest, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(digest), "size": size}


def _json(document: Mapping[str, object]) -> str:
    return json.dumps(document, separators=(",", ":"))
