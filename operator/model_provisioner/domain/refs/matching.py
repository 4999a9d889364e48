"""Finds the downloads that a ref from a caller matches.

The gateway calls this to find an existing download or model. Two refs match if they are equal, or if they name the same
model with and without its quantisation.
"""

from collections.abc import Iterable

from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.refs.refs import HuggingFaceRef, ModelRef, parse
from model_provisioner.domain.refs.selection import quantization_of


def matching(wanted: ModelRef, downloads: Iterable[ModelDownload]) -> list[ModelDownload]:
    """The downloads with exactly this ref; if there are none, the downloads of the same model."""
    known = list(downloads)
    exact = [download for download in known if download.spec.model_ref == str(wanted)]
    return exact or [download for download in known if _is_same_model(wanted, download)]


def _is_same_model(wanted: ModelRef, download: ModelDownload) -> bool:
    if not isinstance(wanted, HuggingFaceRef):
        return False
    if not download.spec.model_ref.startswith(f"hf:{wanted.repository}"):
        return False  # cheaper than parsing, and this runs for every download
    try:
        ref = parse(download.spec.model_ref)
    except ProvisionError:
        return False
    if not isinstance(ref, HuggingFaceRef):
        return False
    if (wanted.repository, wanted.revision) != (ref.repository, ref.revision):
        return False
    return wanted.selector is None or _is_selected(wanted.selector, download)


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
