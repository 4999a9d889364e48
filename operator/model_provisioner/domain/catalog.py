"""Builds the catalog, the ConfigMap of a namespace that lists its ready models, and limits its size.

Each model has three keys with the name of its object: `<name>.json` has all fields; `<name>.path` and `<name>.claim`
are for a `configMapKeyRef` that holds a pod until the model is ready. A model with a multimodal projector also has
`<name>.projector`. `controller.catalog` writes the ConfigMap. It must not be read to make a decision, except for one:
what stays listed at the start of an operator on claims that it can't look at (`controller.catalog.listed_before`).
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from model_provisioner.domain.modeldownload import Model

CATALOG_NAME = "model-catalog"
LIMIT_BYTES = 800 * 1024
"""The limit for the keys and values of one catalog. The API server refuses more than 1 MiB of values.
Etcd refuses a request of 1.5 MiB, which contains each key a second time, in the managed fields."""
_CALM_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 60.0

_IDENTITY = frozenset({"modelRef", "claimName", "path", "files"})

Rows = Mapping[str, str]
"""The keys of one model, with their values."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One ready model. `endpoint` is the one that its object names, None for the operator's own hub."""

    ref: str
    model: Model
    endpoint: str | None = None


def rows(name: str, entry: Entry) -> Rows:
    """The rows of the object `name`. No two object names can produce the same key."""
    projector = entry.model.projector
    return {
        f"{name}.json": json.dumps(_document(entry), sort_keys=True, separators=(",", ":")),
        f"{name}.path": entry.model.path,
        f"{name}.claim": entry.model.claim_name,
        **({f"{name}.projector": projector.path} if projector else {}),
    }


def lists(data: Mapping[str, str], name: str, entry: Entry) -> bool:
    """Whether the catalog `data` has the object `name` with all that `entry` says.

    A catalog of an earlier version may say less. Any text may be in there.
    """
    wanted = rows(name, entry)
    try:
        found = json.loads(data.get(f"{name}.json", ""))
    except ValueError:
        return False
    if not isinstance(found, dict) or not found.keys() >= _IDENTITY:
        return False
    known = json.loads(wanted[f"{name}.json"])
    texts = (key for key in wanted if not key.endswith(".json"))
    same = all(key in known and known[key] == value for key, value in found.items())
    return same and all(data.get(key) == wanted[key] for key in texts)


def size(models: Iterable[Rows]) -> int:
    """The size of all keys and values in bytes."""
    return sum(len(text.encode()) for keys in models for pair in keys.items() for text in pair)


def refusal(models: int, used: int, more: int) -> str | None:
    """Why another model of `more` bytes does not fit beside `models` models of `used` bytes; None if it fits."""
    if used + more <= LIMIT_BYTES:
        return None
    return (
        f"holds {models} models in {_kib(used)} of at most {_kib(LIMIT_BYTES)}, and this one needs {_kib(more)} more: "
        "delete ModelDownloads that are not needed, or create it in another namespace; it is tried again by itself"
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
        **({"projector": {"path": model.projector.path}} if model.projector else {}),
        **({"ollama": _camel(asdict(model.ollama))} if model.ollama else {}),
        **({"endpoint": entry.endpoint} if entry.endpoint else {}),
    }


def _camel(fields: Mapping[str, object]) -> dict[str, object]:
    """The keys in camelCase as in the status of the resource, so that the same code can read both."""
    return {
        "".join(part if first == 0 else part.capitalize() for first, part in enumerate(key.split("_"))): value
        for key, value in fields.items()
        if value is not None
    }


@dataclass(frozen=True, slots=True)
class DriftBackoff:
    """When to overwrite changes that another client makes to the ConfigMap.

    The last change was seen `at`, in seconds on a monotonic clock, and is overwritten `pause` seconds later. The pause
    grows, because two clients that overwrite each other at once would write all the time.
    """

    at: float = -math.inf
    pause: float = 0.0

    def next(self, now: float) -> "DriftBackoff":
        """The backoff after another change at `now`; without a pause if the last correction lasted for a while."""
        if now > self.at + self.pause + _CALM_SECONDS:
            return DriftBackoff(now)
        return DriftBackoff(now, min(max(2 * self.pause, 1.0), _LONGEST_PAUSE_SECONDS))
