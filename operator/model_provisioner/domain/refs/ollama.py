"""Refs of models of the Ollama registry: `ollama:[<namespace>/]<name>[:<tag>]`.

Source: ollama, types/model/name.go; the namespace is `library` and the tag `latest` unless they are written.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

from model_provisioner.domain.credentials.secret_keys import TOKEN, SecretKind
from model_provisioner.domain.errors import InvalidRef
from model_provisioner.domain.refs.model_ref import ModelRef, shown

_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True, slots=True)
class OllamaRef(ModelRef):
    """A model of the Ollama registry; None: as if `library` or `latest` were written."""

    name: str
    namespace: str | None = None
    tag: str | None = None

    schemes = ("ollama",)
    root = "ollama"
    spelling = "ollama:[<namespace>/]<name>[:<tag>]"
    default_endpoint = "https://registry.ollama.ai"
    secret_kinds: ClassVar[tuple[SecretKind, ...]] = (TOKEN,)

    @classmethod
    def parse(cls, text: str) -> Self:
        model, colon, tag = text.partition(":")[2].partition(":")
        *above, name = model.split("/")
        if len(above) > 1:
            raise InvalidRef(
                f"{shown(text)}: a host is not part of it: write {cls.spelling}; a model of Hugging Face is "
                "hf:<owner>/<repo>"
            )
        valid = _NAME.fullmatch(name) and all(map(_NAMESPACE.fullmatch, above))
        if not valid or ".." in name or (colon and not _NAME.fullmatch(tag)):
            raise InvalidRef(
                f"{shown(text)}: write {cls.spelling}, each at most 80 letters, digits, '_', '-' and, except in the "
                "namespace, '.'"
            )
        return cls(name, above[0] if above else None, tag if colon else None)

    @property
    def repository(self) -> str:
        return f"{self.namespace or 'library'}/{self.name}"

    @property
    def reference(self) -> str:
        return self.tag or "latest"

    @property
    def words(self) -> str:
        return f"{self.name} {self.tag or ''}"

    def directory(self, endpoint: str | None) -> str:  # noqa: ARG002 - see `domain.store.paths.hub_directory`
        return f"{self.root}/{self.repository}/{self.reference}"

    def __str__(self) -> str:
        above = f"{self.namespace}/" if self.namespace else ""
        return f"ollama:{above}{self.name}" + (f":{self.tag}" if self.tag else "")
