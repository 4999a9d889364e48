"""Decides under which name Ollama lists a model: `<host>/<namespace>/<model>:<tag>`.

`domain.views.ollama_image` calls this. Source of the rules: ollama, types/model/name.go (`isValidPart`). Ollama ignores
a manifest under a name that breaks them, and compares names without regard to case.
"""

import re
from dataclasses import dataclass

from model_provisioner.domain.errors import InvalidRef
from model_provisioner.domain.model_files.quantizations import quantization_of
from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.domain.refs.hugging_face import HuggingFaceRef
from model_provisioner.domain.refs.model_ref import ModelRef
from model_provisioner.domain.refs.modelscope import ModelScopeRef
from model_provisioner.domain.refs.ollama import OllamaRef
from model_provisioner.domain.refs.refs import parse
from model_provisioner.domain.refs.repository import RepositoryRef
from model_provisioner.domain.store.paths import HUBS_ROOT

_HOSTS: dict[type[ModelRef], str] = {HuggingFaceRef: "hf.co", ModelScopeRef: "modelscope.cn"}
"""The hosts from which Ollama itself pulls the models of these hubs."""
_OWN_HOST, _OWN_NAMESPACE, _DEFAULT_TAG = "registry.ollama.ai", "library", "latest"

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_MODEL_OR_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True, slots=True)
class OllamaName:
    """The four parts of a name."""

    host: str
    namespace: str
    model: str
    tag: str

    @classmethod
    def of_path(cls, path: str) -> "OllamaName | None":
        """The name that `path` below `manifests` stands for; None if Ollama ignores a file there."""
        parts = path.split("/")
        name = cls(*parts) if len(parts) == 4 else None
        return name if name is not None and name.is_valid else None

    @property
    def is_valid(self) -> bool:
        patterns = (_HOST, _NAMESPACE, _MODEL_OR_TAG, _MODEL_OR_TAG)
        parts = (self.host, self.namespace, self.model, self.tag)
        return all(pattern.fullmatch(part) for pattern, part in zip(patterns, parts, strict=True))

    @property
    def path(self) -> str:
        """Where the manifest is, below `manifests`."""
        return f"{self.host}/{self.namespace}/{self.model}/{self.tag}"

    @property
    def key(self) -> str:
        """The same for all names that Ollama does not tell apart."""
        return self.path.lower()

    def __str__(self) -> str:
        """As `ollama list` shows it."""
        above = f"{self.namespace}/" if self.namespace.lower() != _OWN_NAMESPACE else ""
        return (f"{self.host}/{self.namespace}/" if self.host != _OWN_HOST else above) + f"{self.model}:{self.tag}"


def names(download: ModelDownload, model: Model) -> tuple[OllamaName, ...]:
    """The names that `model` of the object `download` can have, the preferred one first; empty if Ollama accepts none.

    First the name by which Ollama itself pulls the model, then that of the object, then that with its namespace. A
    model of another hub than the operator's own has only the latter two: the name would promise other bytes.
    """
    found = (
        _published_name(download.spec.model_ref, model),
        OllamaName(_OWN_HOST, _OWN_NAMESPACE, download.name, _DEFAULT_TAG),
        OllamaName(_OWN_HOST, download.namespace, download.name, _DEFAULT_TAG),
    )
    return tuple(name for name in found if name is not None and name.is_valid)


def _published_name(text: str, model: Model) -> OllamaName | None:
    if model.path.startswith(f"{HUBS_ROOT}/"):
        return None
    try:
        ref = parse(text)
    except InvalidRef:
        return None
    if isinstance(ref, OllamaRef):
        return OllamaName(_OWN_HOST, ref.namespace or _OWN_NAMESPACE, ref.name, ref.reference)
    host = _HOSTS.get(type(ref))
    if host is None or not isinstance(ref, RepositoryRef):
        return None
    owner, _, repo = (model.repository or ref.repository).partition("/")
    return OllamaName(host, owner, repo, _tag(ref, model))


def _tag(ref: RepositoryRef, model: Model) -> str:
    """The hubs take a quantisation or the name of a file for a tag of Ollama."""
    if ref.selector and ref.selector.lower().endswith(".gguf"):
        return ref.selector
    return quantization_of(model.path) or ref.selector or _DEFAULT_TAG
