"""What a status can hold, by the schema of the resource: a plan beyond it is refused, a text beyond it is shortened.

`controller.reconcile.attempt` calls `check_plan` before anything is written or fetched; `domain.lifecycle.status` calls
`fitted` for every status. A test compares the constants with the schema (crds/modeldownload.yaml).
"""

from dataclasses import replace

from model_provisioner.domain.errors import UnsupportedSource
from model_provisioner.domain.gguf.format import MAX_UNKNOWN_TYPES
from model_provisioner.domain.model_facts import GGUFSummary
from model_provisioner.domain.model_files.part_names import MAX_PARTS
from model_provisioner.domain.modeldownload import Condition, Model, Progress, Status
from model_provisioner.domain.quantity import MAX_INT64
from model_provisioner.domain.store.plan import Plan

MAX_INT32 = 2**31 - 1
MAX_FILES = MAX_PARTS
MAX_PATH = 2048
MAX_REVISION = 256
MAX_REPOSITORY = 256
MAX_DIGEST = 256
MAX_GGUF_TEXT = 1024
MAX_REASON = 1024
MAX_MESSAGE = 1024
"""Ours; the schema has 32768."""
MAX_SUMMARY = 256
MAX_ANNOTATION = 262144
MAX_PLAN_CHARACTERS = 320 * 1024
"""Of all paths and digests together. Etcd refuses an object of 1.5 MiB, and a character may have four bytes."""
_COMMIT_CHARACTERS = len("@") + 12
"""What a path gains if its model moves to the directory of its commit."""


def check_plan(plan: Plan) -> None:
    """Raises UnsupportedSource if the status of an object cannot hold `plan`: then it is not fetched."""
    if why := _excess(plan):
        raise UnsupportedSource(
            f"{plan.ref[:200]} can't be recorded: {why}; name a smaller part of it, or publish it in another form"
        )


def fitted(status: Status) -> Status:
    """`status` within the limits: texts are shortened, numbers are moved into their range."""
    return replace(
        status,
        conditions=tuple(map(_fitted_condition, status.conditions)),
        progress=_fitted_progress(status.progress) if status.progress else None,
        attempts=_within(status.attempts, MAX_INT32),
        last_handled_reconcile_at=_shortened(status.last_handled_reconcile_at, MAX_ANNOTATION),
        last_handled_verify_at=_shortened(status.last_handled_verify_at, MAX_ANNOTATION),
        model=_fitted_model(status.model) if status.model else None,
    )


def _excess(plan: Plan) -> str | None:
    """What is too much in `plan`; None if all of it fits."""
    longest = max((file.path for file in plan.files), key=len)
    characters = sum(len(file.path) + len(str(file.digest or "")) for file in plan.files)
    measured = (
        ("its number of files", len(plan.files), MAX_FILES),
        (f"the length of the path {longest[:80]!a}...", len(longest) + _COMMIT_CHARACTERS, MAX_PATH),
        ("the length of all its paths and digests together", characters, MAX_PLAN_CHARACTERS),
        ("its size in bytes", plan.total_bytes, MAX_INT64),
        ("the length of its revision", len(plan.revision or ""), MAX_REVISION),
        ("the length of its repository's name", len(plan.repository or ""), MAX_REPOSITORY),
    )
    excessive = (
        f"{what} is {found}, and at most {most} is supported" for what, found, most in measured if found > most
    )
    return next(excessive, None)


def _fitted_condition(condition: Condition) -> Condition:
    return replace(condition, reason=condition.reason[:MAX_REASON], message=condition.message[:MAX_MESSAGE])


def _fitted_progress(progress: Progress) -> Progress:
    rate, eta = progress.bytes_per_second, progress.eta_seconds
    return replace(
        progress,
        bytes=_within(progress.bytes, MAX_INT64),
        total_bytes=_within(progress.total_bytes, MAX_INT64),
        percent=_within(progress.percent, 100),
        summary=progress.summary[:MAX_SUMMARY],
        bytes_per_second=None if rate is None else _within(rate, MAX_INT64),
        eta_seconds=None if eta is None else _within(eta, MAX_INT64),
    )


def _fitted_model(model: Model) -> Model:
    return replace(model, gguf=_fitted_summary(model.gguf) if model.gguf else None)


def _fitted_summary(gguf: GGUFSummary) -> GGUFSummary:
    return replace(
        gguf,
        architecture=_shortened(gguf.architecture, MAX_GGUF_TEXT),
        name=_shortened(gguf.name, MAX_GGUF_TEXT),
        quantization=_shortened(gguf.quantization, MAX_GGUF_TEXT),
        license=_shortened(gguf.license, MAX_GGUF_TEXT),
        base_model=_shortened(gguf.base_model, MAX_GGUF_TEXT),
        parameters=None if gguf.parameters is None else _within(gguf.parameters, MAX_INT64),
        context_length=None if gguf.context_length is None else _within(gguf.context_length, MAX_INT64),
        unknown_tensor_types=gguf.unknown_tensor_types and gguf.unknown_tensor_types[:MAX_UNKNOWN_TYPES],
    )


def _shortened(text: str | None, limit: int) -> str | None:
    return None if text is None else text[:limit]


def _within(number: int, limit: int) -> int:
    return min(max(number, 0), limit)
