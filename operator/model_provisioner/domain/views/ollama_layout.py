"""Decides which manifest and which blobs belong into the view of Ollama: `views/ollama` on a volume.

`transfer.views.ollama` reads the directory, calls this and acts. Several claims, also those of another operator, can be
one volume: each operator writes and removes the manifests of its own claims. Source of the layout: ollama,
manifest/paths.go: `blobs/sha256-<hexadecimal>`, `manifests/<host>/<namespace>/<model>/<tag>`.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.paths import OLLAMA_VIEW
from model_provisioner.domain.views.ollama_image import FoundManifest
from model_provisioner.domain.views.ollama_model import ViewedModel
from model_provisioner.domain.views.ollama_names import OllamaName

MANIFESTS = (*OLLAMA_VIEW, "manifests")

_BLOB = re.compile(r"sha256-([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class NamedModels:
    """The model of each name, and a message for each model without one."""

    by_name: Mapping[OllamaName, ViewedModel]
    left_out: tuple[str, ...]


def named(models: Iterable[ViewedModel], found: Mapping[OllamaName, FoundManifest], claim: str) -> NamedModels:
    """Gives each of `models` on `claim` a name. `found` are the manifests on the volume.

    A name that another claim or another program uses is taken. Objects with the same model share a name; of objects
    with different models the first one by namespace and name has it, and the next one gets the next of its names.
    """
    taken = {name.key for name, one in found.items() if one.claim != claim}
    given: dict[str, tuple[OllamaName, ViewedModel]] = {}
    left_out = []
    for model in sorted(models, key=lambda one: one.owner):
        name = next((one for one in model.names if _is_free(one, model, taken, given)), None)
        if name is None:
            left_out.append(f"{model.owner}: every name that it can have is in use: {', '.join(map(str, model.names))}")
        else:
            given.setdefault(name.key, (name, model))
    return NamedModels(dict(given.values()), tuple(left_out))


def taken_over(
    found: Mapping[OllamaName, FoundManifest], claim: str, holders: Collection[str]
) -> dict[OllamaName, FoundManifest]:
    """`found` with the manifests of other claims whose object is none of `holders` (`namespace/name`) as of `claim`.

    Such an object is gone, or it is on this claim now: the volume was bound to a claim of another name.
    """
    return {
        name: replace(one, claim=claim) if one.claim is not None and one.owner not in holders else one
        for name, one in found.items()
    }


def unused_manifests(
    wanted: Iterable[OllamaName], found: Mapping[OllamaName, FoundManifest], claim: str
) -> list[OllamaName]:
    """The manifests of `claim` in `found` that are not `wanted` any more."""
    kept = frozenset(wanted)
    return [name for name, one in found.items() if one.claim == claim and name not in kept]


def unused_blobs(files: Iterable[str], manifests: Iterable[FoundManifest]) -> list[str]:
    """The names in `files` of blobs that none of `manifests` has. Other files, such as a partial one, are kept."""
    used = {digest for one in manifests for digest in one.digests}
    return [file for file in files if (match := _BLOB.fullmatch(file)) and Digest(match[1]) not in used]


def blob_name(digest: Digest) -> str:
    """The name of the file below `blobs`."""
    return f"sha256-{digest.hexadecimal}"


def _is_free(
    name: OllamaName, model: ViewedModel, taken: set[str], given: Mapping[str, tuple[OllamaName, ViewedModel]]
) -> bool:
    if name.key in taken:
        return False
    return name.key not in given or _has_same_content(given[name.key][1], model)


def _has_same_content(one: ViewedModel, other: ViewedModel) -> bool:
    contents = [(model.config, model.texts, [layer.digest for layer in model.files]) for model in (one, other)]
    return contents[0] == contents[1]
