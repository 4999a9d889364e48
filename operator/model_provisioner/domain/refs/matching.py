"""Finds the downloads that a ref from a caller matches.

The gateway calls this to find an existing download or model. Two refs match if they are equal, or if they name the same
model: with and without its quantisation, with and without `@main`, by the canonical name of the repository or by
another one that the hub redirects to it.
"""

from collections.abc import Iterable
from dataclasses import replace

from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.refs.refs import HuggingFaceRef, ModelRef, parse
from model_provisioner.domain.refs.selection import quantization_of

_DEFAULT_BRANCH = "main"


def matching(wanted: ModelRef, downloads: Iterable[ModelDownload]) -> list[ModelDownload]:
    """The downloads with exactly this ref.

    If there are none, those whose ref differs only in the spelling of repository and revision; else those of the same
    model.
    """
    known = list(downloads)
    exact = [download for download in known if download.spec.model_ref == str(wanted)]
    if exact or not isinstance(wanted, HuggingFaceRef):
        return exact
    plain = _plain(wanted)
    same = [(download, ref) for download in known if (ref := _same_repository(plain, download))]
    equal = [download for download, ref in same if ref.selector == plain.selector]
    if equal or plain.selector is None:
        return equal or [download for download, _ in same]
    return [download for download, _ in same if _is_selected(plain.selector, download)]


def _same_repository(wanted: HuggingFaceRef, download: ModelDownload) -> HuggingFaceRef | None:
    """The ref of `download`, if its repository and revision are those of `wanted`."""
    model = download.status.model
    canonical = model.repository if model else None
    if wanted.repository != canonical and not download.spec.model_ref.startswith(f"hf:{wanted.repository}"):
        return None  # cheaper than parsing, and this runs for every download
    try:
        ref = parse(download.spec.model_ref)
    except ProvisionError:
        return None
    if not isinstance(ref, HuggingFaceRef) or wanted.repository not in {ref.repository, canonical}:
        return None
    plain = _plain(ref)
    return plain if plain.revision == wanted.revision else None


def _plain(ref: HuggingFaceRef) -> HuggingFaceRef:
    """Without a revision if that is the default branch."""
    return replace(ref, revision=None) if ref.revision == _DEFAULT_BRANCH else ref


def _is_selected(selector: str, download: ModelDownload) -> bool:
    """Whether the file that the download resolved to has this quantisation, or is or lies at this path."""
    model = download.status.model
    if model is None:
        return False
    if selector.lower().endswith(".gguf"):
        return model.path.endswith(f"/{selector}")
    if selector.endswith("/"):
        return model.path.split("/", 3)[-1].startswith(selector)  # after hf/<owner>/<repo>/
    return quantization_of(model.path) == selector.upper()
