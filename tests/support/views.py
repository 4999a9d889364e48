"""Models in the view of Ollama on a volume, for tests of `transfer.views`. They need no hub."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_provisioner.domain.model_facts import GGUFSummary, OllamaSettings
from model_provisioner.domain.modeldownload import DigestSource, Model, ModelDownload, Projector, Spec, Status
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.views.ollama_image import viewed_model
from model_provisioner.domain.views.ollama_model import ViewedModel
from model_provisioner.transfer.store.store import Store
from tests.support.models import SampleFile, attest, fetch, holder, plan_of, put

CLAIM = Claim("models", "models")
GGUF = GGUFSummary("llama", parameters=1_100_048_384, quantization="Q4_K_M")


def publish(store: Store, root: Path, name: str, *files: SampleFile) -> None:
    """Makes `files` those of the object `name`, published and attested. A `local/` file is put there by hand."""
    for file in files:
        if file.path.startswith("local/"):
            put(root, file.path, file.content)
    store.records.settle(holder(name), plan_of(*files))
    for file in files:
        if not file.path.startswith("local/"):
            fetch(store, file, uid=f"uid-{name}")
        attest(store, f"uid-{name}", file)


def viewed(ref: str, name: str, *files: SampleFile, settings: OllamaSettings | None = None) -> ViewedModel:
    """The model of an object; of two files the second is the projector."""
    projector = Projector(files[1].path) if len(files) > 1 else None
    records = tuple(file.record for file in files)
    model = Model(
        CLAIM.name,
        "id",
        records[0].path,
        "1",
        1,
        DigestSource.SOURCE,
        records,
        gguf=GGUF,
        projector=projector,
        ollama=settings,
    )
    download = ModelDownload("models", name, f"uid-{name}", 1, "1", "", False, None, Spec(ref), Status())
    found = viewed_model(download, model)
    assert isinstance(found, ViewedModel), found
    return found


@dataclass(frozen=True)
class View:
    """What is in the view below `root`, the root of a volume."""

    root: Path

    @property
    def directory(self) -> Path:
        return self.root / "views/ollama"

    def paths(self) -> set[str]:
        """The paths of the manifests; none without a view. The operator may write to it meanwhile."""
        above = self.directory / "manifests"
        found = (Path(directory, name) for directory, _, names in os.walk(above) for name in names)
        return {str(path.relative_to(above)) for path in found}

    def manifests(self) -> dict[str, dict[str, Any]]:
        """The manifests by their paths."""
        return {path: json.loads((self.directory / "manifests" / path).read_text()) for path in self.paths()}

    def blobs(self) -> set[str]:
        directory = self.directory / "blobs"
        return set(os.listdir(directory)) if directory.exists() else set()  # noqa: PTH208 - names

    def blob(self, descriptor: dict[str, Any]) -> Path:
        """The file of a layer or of the configuration."""
        name: str = descriptor["digest"].replace(":", "-")
        return self.directory / "blobs" / name

    def contents(self, path: str) -> dict[str, bytes]:
        """The content of each blob of the manifest at `path`, by media type. Raises OSError if one is missing."""
        document = self.manifests()[path]
        described = [document["config"], *document["layers"]]
        found = {one["mediaType"].rpartition(".")[2]: self.blob(one).read_bytes() for one in described}
        assert all(self.blob(one).stat().st_size == one["size"] for one in described)
        return found
