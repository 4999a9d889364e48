"""Rules for the status of every version of every object, and for every step from one version to the next.

Called by `judgement`. Rules that need the time belong there, not here. The FAIL rules are those of Flux's checker for
objects that follow kstatus (fluxcd/pkg, runtime/conditions/check), with their names. FAIL0007 (not Ready while another
spec is observed) is in `judgement`, because the operator needs time to see an edit. FAIL0008 (not Ready while a
condition is about an older generation) follows from FAIL0007 and FAIL0009. Flux has withdrawn FAIL0010.

`kstatus` is what `helm --wait`, Flux and others read from a version of an object.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
Rule = Callable[[Document], bool]

_NEGATIVE = ("Reconciling", "Stalled")
_MAKE_A_NEW_TRY = ("modelRef", "digest", "credentialsSecretRef", "endpoint", "suspend")


def broken_rules(version: Document) -> list[str]:
    """The names of the rules that `version` breaks. Its spec must be the one that its status is about."""
    return [name for name, holds in RULES.items() if not holds(version)]


def broken_steps(before: Document, after: Document) -> list[str]:
    """The names of the rules that the step from `before` to `after` breaks."""
    return [name for name, holds in STEPS.items() if not holds(before, after)]


def condition(version: Document, kind: str) -> Document | None:
    return next((one for one in _conditions(version) if one["type"] == kind), None)


def is_verdict_on_another_spec(before: Document, after: Document) -> bool:
    """Whether `after` repeats the Stalled condition of `before` although the spec now asks for something else.

    A new try that fails in the same way has the same reason and message; if it is retried, it has another
    nextRetryTime. An edit that starts no new try leaves the condition valid.
    """
    asked_anew = any(before["spec"].get(field) != after["spec"].get(field) for field in _MAKE_A_NEW_TRY)
    return asked_anew and verdict(before) == verdict(after) is not None


def verdict(version: Document) -> tuple[str, ...] | None:
    """Reason, message and lastTransitionTime of Stalled, and the status' nextRetryTime; None without Stalled."""
    found = condition(version, "Stalled")
    if found is None:
        return None
    return found["reason"], found["message"], found["lastTransitionTime"], version["status"].get("nextRetryTime", "")


def kstatus(version: Document) -> str:
    """`Compute` of sigs.k8s.io/cli-utils/pkg/kstatus/status at 5895ad6: status.go, and what it calls in generic.go.

    Without its rules for built-in kinds. The first condition that has a meaning decides, an object without
    observedGeneration is not waited for, and an object without conditions is Current.
    """
    metadata, status = version["metadata"], version.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    generation = metadata.get("generation")
    if generation is not None and status.get("observedGeneration", generation) != generation:
        return "InProgress"
    stated = [(one["type"], one["status"]) for one in status.get("conditions") or ()]
    said = [table[one] for table in (_STANDARD, _READY) for one in stated if one in table]
    return said[0] if said else "Current"


_STANDARD = {("Reconciling", "True"): "InProgress", ("Stalled", "True"): "Failed"}
_READY = {("Ready", "True"): "Current", ("Ready", "False"): "InProgress", ("Ready", "Unknown"): "InProgress"}


def _conditions(version: Document) -> Sequence[Document]:
    found: Sequence[Document] = version.get("status", {}).get("conditions") or ()
    return found


def _is(version: Document, kind: str, value: str) -> bool:
    found = condition(version, kind)
    return found is not None and found["status"] == value


def _is_ready(version: Document) -> bool:
    return _is(version, "Ready", "True")


def _says(version: Document, reason: str) -> bool:
    return any(one["reason"] == reason for one in _conditions(version))


def _observed(version: Document) -> int:
    return int(version["status"]["observedGeneration"])


def _generation(version: Document) -> int:
    return int(version["metadata"]["generation"])


def _all_observed(version: Document, generation: int) -> bool:
    return all(one.get("observedGeneration") == generation for one in _conditions(version))


RULES: dict[str, Rule] = {
    "FAIL0001 neither Reconciling nor Stalled beside Ready": lambda it: (
        not (_is_ready(it) and any(_is(it, kind, "True") for kind in _NEGATIVE))
    ),
    "FAIL0002 Ready is always there": lambda it: condition(it, "Ready") is not None,
    "FAIL0003 Reconciling means not Ready": lambda it: not _is(it, "Reconciling", "True") or _is(it, "Ready", "False"),
    "FAIL0004 Stalled means not Ready": lambda it: not _is(it, "Stalled", "True") or _is(it, "Ready", "False"),
    "FAIL0005 never Reconciling and Stalled": lambda it: not all(condition(it, kind) for kind in _NEGATIVE),
    "FAIL0006 no generation that is not yet": lambda it: _observed(it) <= _generation(it),
    "FAIL0009 Ready is about the observed generation": lambda it: not _is_ready(it) or _all_observed(it, _observed(it)),
    "FAIL0011 unknown means Reconciling": lambda it: not _is(it, "Ready", "Unknown") or _is(it, "Reconciling", "True"),
    "absent rather than False": lambda it: not any(_is(it, kind, "False") for kind in _NEGATIVE),
    "a word and a sentence": lambda it: all(one["reason"].isalpha() and one["message"] for one in _conditions(it)),
    "all conditions tell one story": lambda it: len({one["reason"] for one in _conditions(it)}) <= 1,
    "Suspended is who should be": lambda it: not _says(it, "Suspended") or bool(it["spec"].get("suspend")),
    "Ready has a path, a size and a digest": lambda it: (
        not _is_ready(it) or {"path", "sizeBytes", "digestSource"} <= it["status"].get("model", {}).keys()
    ),
}


def _bytes_fall(before: Document, after: Document) -> bool:
    old, new = (one["status"].get("progress", {}).get("bytes", 0) for one in (before, after))
    same = before["status"].get("attempts") == after["status"].get("attempts")
    return bool(same and new < old and before["spec"]["modelRef"] == after["spec"]["modelRef"])


def _flips_without_saying_when(before: Document, after: Document) -> bool:
    pairs = [(condition(before, one["type"]), one) for one in _conditions(after)]
    return any(
        old and (old["status"] != new["status"]) < (old["lastTransitionTime"] != new["lastTransitionTime"])
        for old, new in pairs
    )


STEPS: dict[str, Callable[[Document, Document], bool]] = {
    "bytes never fall within an attempt": lambda before, after: not _bytes_fall(before, after),
    "a transition time moves only with its value": lambda before, after: not _flips_without_saying_when(before, after),
    "observedGeneration never falls": lambda before, after: _observed(before) <= _observed(after),
    "no old retry for a new spec": lambda before, after: (
        not is_verdict_on_another_spec(before, after) or "nextRetryTime" not in after["status"]
    ),
}
