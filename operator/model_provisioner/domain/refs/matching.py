"""Finds the downloads that a ref from a caller matches.

The gateway calls this to find an existing download or model. Two refs match if they are equal, or if they name the same
model: with and without its quantisation, with and without `@main`, by the canonical name of the repository or by
another one that the hub redirects to it.
"""

from collections.abc import Iterable
from dataclasses import replace

from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.model_files.quantizations import quantization_of
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.network.addresses import same_endpoint
from model_provisioner.domain.refs.model_ref import ModelRef
from model_provisioner.domain.refs.refs import parse
from model_provisioner.domain.refs.repository import RepositoryRef

_OTHER_HUBS = "hubs/"
_DIRECTORIES = 3  # hf/<owner>/<repo>/
_DIRECTORIES_OF_ANOTHER_HUB = 4  # hubs/<hub>/<owner>/<repo>/


def matching(wanted: ModelRef, downloads: Iterable[ModelDownload]) -> list[ModelDownload]:
    """The downloads with exactly this ref.

    If there are none, those whose ref differs only in the spelling of repository and revision; else those of the same
    model.
    """
    known = list(downloads)
    exact = [download for download in known if download.spec.model_ref == str(wanted)]
    if exact or not isinstance(wanted, RepositoryRef):
        return exact
    plain = _plain(wanted)
    same = [(download, ref) for download in known if (ref := _same_repository(plain, download))]
    equal = [download for download, ref in same if ref.selector == plain.selector]
    if equal or plain.selector is None:
        return equal or [download for download, _ in same]
    return [download for download, _ in same if _is_selected(plain.selector, download)]


def is_from(endpoint: str | None, download: ModelDownload) -> bool:
    """Whether the download is from the hub that a caller names; None is the operator's own hub.

    The same ref names other bytes at another hub. An endpoint that is written in an object may be the operator's own:
    the path of the model tells it, once it is known.
    """
    named = download.spec.endpoint
    if endpoint is not None:
        return named is not None and same_endpoint(named, endpoint)
    return named is None or bool(download.status.model and not _is_of_another_hub(download.status.model.path))


def _is_of_another_hub(path: str) -> bool:
    return path.startswith(_OTHER_HUBS)


def _same_repository(wanted: RepositoryRef, download: ModelDownload) -> RepositoryRef | None:
    """The ref of `download`, if its repository and revision are those of `wanted`."""
    model = download.status.model
    canonical = model.repository if model else None
    if wanted.repository != canonical and not download.spec.model_ref.startswith(
        f"{wanted.scheme}:{wanted.repository}"
    ):
        return None  # cheaper than parsing, and this runs for every download
    try:
        ref = parse(download.spec.model_ref)
    except ProvisionError:
        return None
    if not isinstance(ref, type(wanted)) or wanted.repository not in {ref.repository, canonical}:
        return None
    plain = _plain(ref)
    return plain if plain.revision == wanted.revision else None


def _plain(ref: RepositoryRef) -> RepositoryRef:
    """Without a revision if that is the default branch."""
    return replace(ref, revision=None) if ref.revision == ref.default_branch else ref


def _is_selected(selector: str, download: ModelDownload) -> bool:
    """Whether the file that the download resolved to has this quantisation, or is or lies at this path."""
    model = download.status.model
    if model is None:
        return False
    if selector.lower().endswith(".gguf"):
        return model.path.endswith(f"/{selector}")
    if selector.endswith("/"):
        above = _DIRECTORIES_OF_ANOTHER_HUB if _is_of_another_hub(model.path) else _DIRECTORIES
        return model.path.split("/", above)[-1].startswith(selector)
    return quantization_of(model.path) == selector.upper()
