"""The catalog: which models are ready in a namespace, as the data of one ConfigMap.

Three keys per model, by the name of its object: `<name>.json` has everything, `<name>.path` and
`<name>.claim` are there so that a worker's `configMapKeyRef` holds its pod until the model is ready.
The controller applies what this makes; nothing reads it to decide.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from model_provisioner.domain.modeldownload import Model

CATALOG_NAME = "model-catalog"
LIMIT_BYTES = 800 * 1024
"""What the keys and values of one catalog may take. The API server refuses more than 1 MiB of values, and etcd a
request of 1.5 MiB, in which each key stands a second time, among the managed fields."""
_CALM_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 60.0

Rows = Mapping[str, str]
"""The keys of one model and their values."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One ready model."""

    ref: str
    model: Model


def rows(name: str, entry: Entry) -> Rows:
    """What the catalog says of the object `name`. No name can spell a key of another one."""
    return {
        f"{name}.json": json.dumps(_document(entry), sort_keys=True, separators=(",", ":")),
        f"{name}.path": entry.model.path,
        f"{name}.claim": entry.model.claim_name,
    }


def size(models: Iterable[Rows]) -> int:
    """Bytes of all keys and values."""
    return sum(len(text.encode()) for one in models for pair in one.items() for text in pair)


def refusal(models: int, used: int, more: int) -> str | None:
    """Why a further model of `more` bytes has no place beside `models` that take `used`; None where it has."""
    if used + more <= LIMIT_BYTES:
        return None
    return (
        f"holds {models} models in {_kib(used)} of at most {_kib(LIMIT_BYTES)}, and this one needs {_kib(more)} more: "
        "delete ModelDownloads that nobody needs, or create it in another namespace; it is tried again by itself"
    )


def _kib(size_bytes: int) -> str:
    return f"{size_bytes / 1024:.1f} KiB"


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


@dataclass(frozen=True, slots=True)
class DriftBackoff:
    """Somebody else writes into the ConfigMap: their last change, heard of `at`, is put right after `pause` seconds.

    Two that never give in would write all the time.
    """

    at: float = -math.inf
    pause: float = 0.0

    def next(self, now: float) -> "DriftBackoff":
        """After a further change: another dispute, without a pause, where what was put right had held for a while."""
        if now > self.at + self.pause + _CALM_SECONDS:
            return DriftBackoff(now)
        return DriftBackoff(now, min(max(2 * self.pause, 1.0), _LONGEST_PAUSE_SECONDS))
