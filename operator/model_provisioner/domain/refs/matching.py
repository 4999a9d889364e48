"""Which downloads a ref of a caller means: the same ref, or the same model spelt with or without its quantisation."""

from collections.abc import Iterable

from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.refs.refs import HuggingFaceRef, ModelRef, parse
from model_provisioner.domain.refs.selection import quantization_of


def matching(wanted: ModelRef, downloads: Iterable[ModelDownload]) -> list[ModelDownload]:
    """Those of the very same ref if there are any, else those of the same model."""
    known = list(downloads)
    exact = [one for one in known if one.spec.model_ref == str(wanted)]
    return exact or [one for one in known if _is_same_model(wanted, one)]


def _is_same_model(wanted: ModelRef, download: ModelDownload) -> bool:
    if not isinstance(wanted, HuggingFaceRef):
        return False
    if not download.spec.model_ref.startswith(f"hf:{wanted.repository}"):
        return False  # without parsing, because this is asked of every download there is
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
    """Does the file that a download resolved to have this quantisation, or this path in its repository?"""
    model = download.status.model
    if model is None:
        return False
    if selector.lower().endswith(".gguf"):
        return model.path.endswith(f"/{selector}")
    return quantization_of(model.path) == selector.upper()
