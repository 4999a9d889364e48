"""The whole objects that a real operator leaves behind, side by side with what was applied.

`UPDATE_GOLDENS=1 pytest tests/controller/test_goldens.py` writes the goldens anew; git shows what changed.
"""

import re
from pathlib import Path
from typing import Any

from tests.support.ggufs import tiny_gguf, write_split
from tests.support.goldens import Document, assert_all_used, assert_golden
from tests.support.stand import Stand

Spec = dict[str, Any]

CASES: dict[str, tuple[Spec, str]] = {
    "ready": ({"modelRef": "hf:acme/tiny"}, "Available"),
    "ready-digest-computed": ({"modelRef": "hf:acme/plain", "connections": 2, "priority": 7}, "Available"),
    "ready-split": ({"modelRef": "hf:acme/split:Q4_K_M", "reclaimPolicy": "Delete"}, "Available"),
    "ready-local": ({"modelRef": "local:by-hand.gguf"}, "Available"),
    "suspended": ({"modelRef": "hf:acme/tiny:Q8_0", "suspend": True}, "Suspended"),
    "not-found": ({"modelRef": "hf:acme/none"}, "SourceNotFound"),
    "ambiguous": ({"modelRef": "hf:acme/many"}, "AmbiguousModel"),
    "part-missing": ({"modelRef": "hf:acme/half"}, "IncompleteModel"),
    "not-gguf": ({"modelRef": "hf:acme/page"}, "NotGGUF"),
    "digest-mismatch": ({"modelRef": "hf:acme/other", "digest": "sha256:" + "ab" * 32}, "DigestMismatch"),
    "claim-not-mounted": ({"modelRef": "hf:acme/tiny", "destination": {"claimName": "other"}}, "ClaimNotMounted"),
    "secret-missing": (
        {"modelRef": "hf:acme/tiny", "credentialsSecretRef": {"name": "hf-token"}},
        "SecretNotFound",
    ),
    "endpoint-not-allowed": ({"modelRef": "hf:acme/tiny", "endpoint": "https://hub.example"}, "AddressNotAllowed"),
}
"""What is applied, and the reason of Ready that it must come to."""

_VOLATILE = frozenset(
    {"lastTransitionTime", "lastUpdateTime", "startTime", "completionTime", "nextRetryTime", "storeID"}
)

_FREE = re.compile(r"\S+ [KMGT]iB are free")


def test_what_becomes_of_each_object_is_its_golden(bench: Stand, tmp_path: Path) -> None:
    _fill(bench, tmp_path)
    bench.start_operator()
    for case, (spec, _) in CASES.items():
        bench.apply(case, **spec)
    ended = {case: bench.until(case, reason) for case, (_, reason) in CASES.items()}
    for case, document in ended.items():
        assert_golden("cluster", case, _without_what_changes(document))


def test_every_golden_of_an_object_is_used() -> None:
    assert_all_used("cluster", CASES)


def _fill(bench: Stand, directory: Path) -> None:
    bench.hub.repository("acme/plain").add("plain.gguf", tiny_gguf(seed=2), lfs=False)
    bench.hub.repository("acme/other").add("other.Q4_K_M.gguf", tiny_gguf(seed=3))
    bench.hub.repository("acme/page").add("page.Q4_K_M.gguf", b"<!doctype html><title>login</title>" * 1000)
    split, half, many = (bench.hub.repository(f"acme/{name}") for name in ("split", "half", "many"))
    parts = write_split(directory, "split.Q4_K_M", 2, size=64 * 1024)
    for part in parts:
        split.add(part.name, part)
    half.add(parts[0].name, parts[0])
    for quantization in ("Q5_K_M", "Q6_K"):
        many.add(f"many.{quantization}.gguf", tiny_gguf())
    (bench.volume / "local").mkdir()
    (bench.volume / "local" / "by-hand.gguf").write_bytes(tiny_gguf(seed=4))


def _without_what_changes(document: Document) -> Document:
    """The object without what the API server says for itself, and with a placeholder for what differs in each run."""
    metadata = {key: document["metadata"][key] for key in ("name", "generation")}
    return {**document, "metadata": metadata, "status": _masked(document["status"], document["metadata"]["namespace"])}


def _masked(value: Any, namespace: str) -> Any:
    if isinstance(value, dict):
        return {key: f"<{key}>" if key in _VOLATILE else _masked(item, namespace) for key, item in value.items()}
    if isinstance(value, str):
        return _FREE.sub("<free> are free", value.replace(namespace, "<namespace>"))
    return [_masked(item, namespace) for item in value] if isinstance(value, list) else value
