"""Brings the view of Ollama, `views/ollama` on a volume, to what the operator wants: makes, repairs and removes it.

Called by `transfer.worker.store_requests`. The view has no state of its own: everything in it is made from the request
and from published files. A kill at any point leaves a view in which models are missing at worst, because a manifest is
written after its blobs and removed before them; the next request repairs it. What belongs into the view is decided in
`domain.views`; `blobs` and `manifests` carry it out.
"""

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from model_provisioner.domain.errors import PathConflict
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.paths import OLLAMA_BLOBS, OLLAMA_VIEW
from model_provisioner.domain.views.ollama_image import FoundManifest, manifest
from model_provisioner.domain.views.ollama_layout import (
    MANIFESTS,
    named,
    taken_over,
    unused_blobs,
    unused_manifests,
)
from model_provisioner.domain.views.ollama_model import ViewedModel
from model_provisioner.domain.views.ollama_names import OllamaName
from model_provisioner.transfer.store import posix
from model_provisioner.transfer.store.store import Store, Volume
from model_provisioner.transfer.views.blobs import Blobs
from model_provisioner.transfer.views.manifests import Manifests

_MARKER = "view-ollama.json"
_VIEW = "/".join(OLLAMA_VIEW)
_UNCONFIRMED = "its files are not confirmed on the volume"


@dataclass(frozen=True, slots=True)
class ViewResult:
    """`listed` are the names that Ollama lists of this claim, `left_out` has a message for each other model.

    `symbolic` is the number of blobs that are symbolic links although the file could have been linked otherwise.
    """

    listed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    symbolic: int = 0


def update(store: Store, claim: Claim, models: tuple[ViewedModel, ...]) -> ViewResult:
    """Makes the view list `models`, all that are Ready on `claim`.

    A model is left out if no record attests one of its files. Raises PathConflict if `views/ollama` was made by another
    program, InsufficientStorage, VolumeNotWritable, VolumeUnsuitable.
    """
    with posix.volume_errors(f"write the view {_VIEW}"):
        _mark(store.volume)
        attested = store.files.attested({layer.file: None for model in models for layer in model.files})
        confirmed = [model for model in models if all(layer.file in attested for layer in model.files)]
        others = store.files.holder_names().difference(model.owner for model in models)
        with Blobs.opened(store.volume, claim) as blobs, Manifests.opened(store.volume, claim) as manifests:
            found = taken_over(manifests.read(), str(claim), others)
            chosen = named(confirmed, found, str(claim))
            # What can be removed goes first: there may be no space for anything else.
            _remove_unused(blobs, _without(manifests, unused_manifests(chosen.by_name, found, str(claim)), found))
            listed = {name: one for name, one in chosen.by_name.items() if _write_blobs(blobs, one, attested)}
            blobs.sync()
            lost = chosen.by_name.keys() - listed.keys()
            _without(manifests, lost, found)
            for name, model in listed.items():
                manifests.write(name, manifest(model, str(claim)))
            _remove_unused(blobs, manifests.read())
        kept = {model.owner for model in confirmed} - {chosen.by_name[name].owner for name in lost}
        unconfirmed = (f"{one.owner}: {_UNCONFIRMED}" for one in models if one.owner not in kept)
        return ViewResult(tuple(map(str, listed)), (*unconfirmed, *chosen.left_out), blobs.symbolic)


def remove(store: Store, claim: Claim) -> None:
    """Removes what is in the view for `claim`, and the view itself if nothing else is in it. Raises as `update`."""
    with posix.volume_errors(f"remove the view {_VIEW}"):
        if not _is_marked(store.volume):
            return
        with suppress(FileNotFoundError):
            with Manifests.opened(store.volume, claim, create=False) as manifests:
                found = taken_over(manifests.read(), str(claim), store.files.holder_names())
                left = _without(manifests, unused_manifests((), found, str(claim)), found)
            with Blobs.opened(store.volume, claim, create=False) as blobs:
                _remove_unused(blobs, left)
        if _remove_directories(store.volume):
            posix.unlink_if_exists(_MARKER, store.volume.private)


def _without(
    manifests: Manifests, names: Collection[OllamaName], found: Mapping[OllamaName, FoundManifest]
) -> dict[OllamaName, FoundManifest]:
    """Removes the manifests of `names`, and returns those of `found` that are left."""
    removed = frozenset(names)
    for name in removed:
        manifests.remove(name)
    return {name: one for name, one in found.items() if name not in removed}


def _write_blobs(blobs: Blobs, model: ViewedModel, attested: Mapping[FileRecord, os.stat_result]) -> bool:
    """Returns False if a file was deleted meanwhile."""
    try:
        for layer in model.files:
            blobs.link(layer.digest, layer.file.path, attested[layer.file])
    except FileNotFoundError:
        return False
    for text in (model.config, *model.texts):
        blobs.write(text.digest, text.content)
    return True


def _remove_unused(blobs: Blobs, manifests: Mapping[OllamaName, FoundManifest]) -> None:
    for name in unused_blobs(blobs.names(), manifests.values()):
        blobs.remove(name)


def _mark(volume: Volume) -> None:
    """Writes down that the view is ours before it is made. Raises PathConflict if there is one of another program."""
    if _is_marked(volume):
        return
    with suppress(FileNotFoundError), posix.opened_directory(volume.root, list(OLLAMA_VIEW)) as view:
        with os.scandir(view) as entries:
            is_empty = next(entries, None) is None
        if not is_empty:
            raise PathConflict(f"{_VIEW} on the volume was made by another program: rename it or remove it")
    posix.write_document(_MARKER, volume.private, b"{}")
    posix.sync_directory(volume.private)


def _is_marked(volume: Volume) -> bool:
    return posix.read_document(_MARKER, volume.private, limit=16) is not None


def _remove_directories(volume: Volume) -> bool:
    """Removes the directories of the view if they are empty, and returns whether the view is gone."""
    for parts in (MANIFESTS, OLLAMA_BLOBS, OLLAMA_VIEW, OLLAMA_VIEW[:1]):
        with suppress(OSError), posix.opened_directory(volume.root, list(parts[:-1])) as above:
            os.rmdir(parts[-1], dir_fd=above)
    try:
        with posix.opened_directory(volume.root, list(OLLAMA_VIEW)):
            return False
    except FileNotFoundError:
        return True
