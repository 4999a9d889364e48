"""Refs of files that users put on the volume: `local:<path below local/>`."""

from dataclasses import dataclass
from typing import Self

from model_provisioner.domain.refs.model_ref import ModelRef, checked_model_path


@dataclass(frozen=True, slots=True)
class LocalRef(ModelRef):
    """A file below `local/` of the volume, put there by a user. `path` is relative to `local/`."""

    path: str

    schemes = ("local",)
    root = "local"
    spelling = "local:<path>.gguf"

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(checked_model_path(text, text.partition(":")[2]))

    @property
    def words(self) -> str:
        return self.path

    def directory(self, endpoint: str | None) -> str:  # noqa: ARG002 - it is asked at its own place
        return self.root

    def __str__(self) -> str:
        return f"local:{self.path}"
