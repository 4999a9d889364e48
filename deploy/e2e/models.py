"""Models that the run puts into the hub, and what a ModelDownload says of itself. Called by everything that has one."""

import hashlib
from pathlib import Path

from deploy.e2e.commands import Document
from tests.support.hub import Hub, Repository


class Model:
    """A model in the hub. `size` is in bytes."""

    def __init__(self, name: str, size: int, digest: str, repository: Repository) -> None:
        self.name = name
        self.size = size
        self.digest = digest
        self.repository = repository
        self.file = f"{name}.Q4_K_M.gguf"
        self.path = f"hf/e2e/{name}/{self.file}"


def publish(hub: Hub, name: str, file: Path, *, private: bool = False, tokens: frozenset[str] = frozenset()) -> Model:
    """Puts a file into the hub, as hf:e2e/NAME."""
    repository = hub.repository(f"e2e/{name}", private=private, tokens=tokens)
    repository.add(f"{name}.Q4_K_M.gguf", file)
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return Model(name, file.stat().st_size, digest, repository)


def condition(found: Document) -> Document:
    """The Ready condition of an object; empty if there is none."""
    conditions: list[Document] = found.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == "Ready"), {})
