"""The limits of a status: they are those of the schema, a plan beyond them is refused, and a status is made to fit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_provisioner.domain.errors import UnsupportedSource
from model_provisioner.domain.gguf.format import MAX_UNKNOWN_TYPES
from model_provisioner.domain.lifecycle import limits
from model_provisioner.domain.model_facts import GGUFSummary
from model_provisioner.domain.model_files.ollama_settings import MOST_BYTES
from model_provisioner.domain.modeldownload import Condition, Progress, Status
from model_provisioner.domain.quantity import MAX_INT64
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Plan, PlannedFile
from tests.support.samples import MODEL

CRD = Path(__file__).parents[3] / "crds" / "modeldownload.yaml"
DIGEST = Digest.parse("a" * 64)


def field(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for name in ("status", *path.split(".")):
        found = found["items"] if name == "[]" else found["properties"][name]
    return found


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("model.path", limits.MAX_PATH),
        ("model.files.[].path", limits.MAX_PATH),
        ("model.files.[].digest", limits.MAX_DIGEST),
        ("model.digest", limits.MAX_DIGEST),
        ("model.revision", limits.MAX_REVISION),
        ("model.repository", limits.MAX_REPOSITORY),
        *[(f"model.gguf.{name}", limits.MAX_GGUF_TEXT) for name in ("architecture", "name", "quantization", "license")],
        *[(f"model.ollama.{name}", MOST_BYTES) for name in ("template", "parameters", "system")],
        ("conditions.[].reason", limits.MAX_REASON),
        ("progress.summary", limits.MAX_SUMMARY),
        ("lastHandledReconcileAt", limits.MAX_ANNOTATION),
        ("lastHandledVerifyAt", limits.MAX_ANNOTATION),
    ],
)
def test_lengths_are_those_of_the_schema(path: str, limit: int) -> None:
    assert field(path)["maxLength"] == limit


def test_counts_and_ranges_are_those_of_the_schema() -> None:
    assert field("model.files")["maxItems"] == limits.MAX_FILES
    assert field("model.gguf.unknownTensorTypes")["maxItems"] == MAX_UNKNOWN_TYPES
    assert field("conditions.[].message")["maxLength"] >= limits.MAX_MESSAGE
    assert field("attempts")["format"] == field("progress.percent")["format"] == "int32"
    assert field("model.sizeBytes")["format"] == field("progress.bytes")["format"] == "int64"


def plan(path: str = "hf/a/b/m.gguf", count: int = 1, size: int = 1, **changes: Any) -> Plan:
    files = tuple(PlannedFile(f"{number}{path}", size, DIGEST, "s", "u") for number in range(count))
    return replace(Plan("hf:a/b", "c" * 40, files, "a/b"), **changes)


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (plan("p" * 2040), "path .* is 2054"),
        (plan(count=4097), "number of files is 4097"),
        (plan("p" * 1000, count=400), "together is"),
        (plan(size=2**63), "size in bytes is"),
        (plan(size=2**62, count=2), "size in bytes is"),
        (plan(revision="c" * 257), "revision is 257"),
        (plan(repository="c" * 257), "repository"),
    ],
)
def test_a_plan_that_no_status_can_hold_is_refused(found: Plan, why: str) -> None:
    with pytest.raises(UnsupportedSource, match=why) as refused:
        limits.check_plan(found)
    assert "publish it in another form" in refused.value.message
    assert len(refused.value.message) < limits.MAX_MESSAGE


def test_a_large_plan_is_taken() -> None:
    limits.check_plan(plan("p" * 100, count=1000, size=2**46))


def test_every_text_and_number_of_a_status_is_made_to_fit() -> None:
    long, huge = "x" * 300_000, 2**70
    gguf = GGUFSummary(long, long, huge, long, huge, long, unknown_tensor_types=tuple(range(99)), base_model=long)
    status = Status(
        conditions=(Condition("Ready", "True", long, long, 1, "2026-01-01T00:00:00Z"),),
        progress=Progress(huge, -huge, huge, long, "2026-01-01T00:00:00Z", huge, -1),
        attempts=huge,
        last_handled_reconcile_at=long,
        last_handled_verify_at=long,
        model=replace(MODEL, gguf=gguf),
    )
    found = limits.fitted(status)
    assert found.model
    assert found.model.gguf
    assert found.progress
    assert found.model.gguf.parameters == MAX_INT64
    assert found.model.gguf.name == found.model.gguf.base_model == "x" * limits.MAX_GGUF_TEXT
    assert len(found.model.gguf.unknown_tensor_types or ()) == MAX_UNKNOWN_TYPES
    assert (found.attempts, found.progress.percent, found.progress.total_bytes) == (limits.MAX_INT32, 100, 0)
    assert (found.progress.bytes, found.progress.eta_seconds) == (MAX_INT64, 0)
    assert [len(found.conditions[0].reason), len(found.conditions[0].message)] == [1024, 1024]
    assert len(found.last_handled_reconcile_at or "") == limits.MAX_ANNOTATION
