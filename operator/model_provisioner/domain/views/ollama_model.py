"""What the operator tells the store worker of a model in the view of Ollama (`worker_protocol.requests.View`).

`domain.views.ollama_image` makes and renders it.
"""

import hashlib
from dataclasses import dataclass

from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.views.ollama_names import OllamaName


@dataclass(frozen=True, slots=True)
class FileLayer:
    """A published file. Its digest is that of its content."""

    media_type: str
    file: FileRecord

    @property
    def digest(self) -> Digest:
        return Digest.parse(self.file.digest or "")


@dataclass(frozen=True, slots=True)
class TextLayer:
    """A text, of which the view has a file of its own."""

    media_type: str
    text: str

    @property
    def content(self) -> bytes:
        return self.text.encode()

    @property
    def digest(self) -> Digest:
        return Digest(hashlib.sha256(self.content).hexdigest())


@dataclass(frozen=True, slots=True)
class ViewedModel:
    """A model of the object `owner` (`namespace/name`). `names` are those that it can have, the preferred one first."""

    owner: str
    names: tuple[OllamaName, ...]
    config: TextLayer
    files: tuple[FileLayer, ...]
    texts: tuple[TextLayer, ...] = ()
