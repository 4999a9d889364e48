"""A published model as an engine sees it: a name, and paths below the place where the claim is mounted.

`domain.engines.documents` makes one of each ready object; the renderers of the engines read it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from model_provisioner.domain.modeldownload import Model

MOUNT_PATH_RULE = "at most 256 letters, digits, '.', '_', '-' and '/', with a letter, digit or '_' after each slash"
_MOUNT_PATH = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9._-]*)+")
_MAX_MOUNT_PATH = 256


def is_mount_path(text: str) -> bool:
    """Whether engines may mount a claim at `text`: no engine's format has a meaning for one of its characters."""
    return len(text) <= _MAX_MOUNT_PATH and _MOUNT_PATH.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class ServedModel:
    """`name` is that of the ModelDownload, a DNS subdomain. `path` is the first part of a split model.

    `path` and `projector` are relative to the root of the volume, which engines mount at `mount_path`.
    """

    name: str
    path: str
    projector: str | None
    mount_path: str

    @classmethod
    def of(cls, name: str, model: Model, mount_path: str) -> "ServedModel":
        return cls(name, model.path, model.projector_path, mount_path)

    @property
    def paths(self) -> Iterator[str]:
        """The relative paths of all files that the engine is told of."""
        yield self.path
        if self.projector:
            yield self.projector

    @property
    def absolute_path(self) -> str:
        return self._absolute(self.path)

    @property
    def absolute_projector(self) -> str | None:
        return self._absolute(self.projector) if self.projector else None

    def _absolute(self, path: str) -> str:
        return f"{self.mount_path}/{path}"
