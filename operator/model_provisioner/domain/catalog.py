"""The catalog: which models are ready in a namespace, as the data of one ConfigMap.

Three keys per model, by the name of its object: `<name>.json` has everything, `<name>.path` and
`<name>.claim` are there so that a worker's `configMapKeyRef` holds its pod until the model is ready.
The controller applies what this makes; nothing reads it to decide.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from model_provisioner.domain.modeldownload import Model

CATALOG_NAME = "model-catalog"


@dataclass(frozen=True, slots=True)
class Entry:
    """One ready model."""

    ref: str
    model: Model


def catalog_data(entries: Mapping[str, Entry]) -> dict[str, str]:
    """The ConfigMap's `data`, by object name."""
    data: dict[str, str] = {}
    for name in sorted(entries):
        model = entries[name].model
        data[f"{name}.json"] = json.dumps(_document(entries[name]), sort_keys=True, separators=(",", ":"))
        data[f"{name}.path"] = model.path
        data[f"{name}.claim"] = model.claim_name
    return data


def _document(entry: Entry) -> dict[str, object]:
    model = entry.model
    return {
        "modelRef": entry.ref,
        "claimName": model.claim_name,
        "path": model.path,
        "files": [{"path": file.path, "sizeBytes": file.size_bytes, "digest": file.digest} for file in model.files],
        "sizeBytes": model.size_bytes,
        "digest": model.digest,
        "revision": model.revision,
        "gguf": _camel(asdict(model.gguf)) if model.gguf else None,
    }


def _camel(fields: Mapping[str, object]) -> dict[str, object]:
    """The spelling of the resource's own status, so that both can be read by the same code."""
    return {
        "".join(part if first == 0 else part.capitalize() for first, part in enumerate(key.split("_"))): value
        for key, value in fields.items()
        if value is not None
    }
