"""Decides whether a status may be one that an operator wrote. An editor of an object can write any other.

`kube.resource` calls this for every status that it parses: one that breaks a rule counts as none, for the operator and
for the gateway. What the volume says of the files is asked by `controller.reconcile.recheck`.
"""

from collections.abc import Iterable
from datetime import datetime

from model_provisioner.domain.modeldownload import Model, Spec, Status
from model_provisioner.domain.store.paths import FETCHED_ROOTS, is_local, is_safe


def why_not_credible(status: Status, spec: Spec) -> str | None:
    """What no operator would have written for an object with `spec`; None if there is nothing."""
    if wrong := next((text for text in _times(status) if not _is_time(text)), None):
        return f"{wrong[:40]!a} is not a time"
    return _why_not_model(status.model, spec) if status.model else _why_not_without(status)


def _why_not_without(status: Status) -> str | None:
    return "it is Ready without a model" if status.ready else None


def _why_not_model(model: Model, spec: Spec) -> str | None:
    paths = [file.path for file in model.files]
    rules = (
        (not paths or model.path != paths[0], "the path of the model is not that of its first file"),
        (model.projector and model.projector.path not in paths[1:], "the projector is not one of the further files"),
        (not all(map(is_safe, paths)), "a path is not safe below the root of a volume"),
        (not all(_is_of_a_source(path, spec) for path in paths), "a path is not in the directory of its source"),
        (len(set(paths)) < len(paths), "two files have one path"),
        (min((file.size_bytes for file in model.files), default=0) < 0, "a size is negative"),
        (sum(file.size_bytes for file in model.files) != model.size_bytes, "the sizes do not add up"),
        (spec.claim_name not in {None, model.claim_name}, "the claim is not that of the spec"),
    )
    return next((why for is_broken, why in rules if is_broken), None)


def _is_of_a_source(path: str, spec: Spec) -> bool:
    if spec.model_ref.startswith("local:"):
        return is_local(path)
    return path.partition("/")[0] in FETCHED_ROOTS


def _times(status: Status) -> Iterable[str]:
    checked = status.model.last_check_time if status.model else None
    found = (status.start_time, status.completion_time, status.next_retry_time, checked)
    changed = (condition.last_transition_time for condition in status.conditions)
    return filter(None, (*found, *changed))


def _is_time(text: str) -> bool:
    """Whether the text is a time with an offset. The API server lets more through than RFC 3339 allows."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
