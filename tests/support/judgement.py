"""Rules for all versions of one object that need the time or a count, and for the number of its Events.

Called by `history` for each object at the end of each stand. Rules about a single version, or about a single step, are
in `conditions`.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from tests.support.conditions import broken_rules, broken_steps, condition, is_verdict_on_another_spec, verdict

_LATE_SECONDS = 5.0
_START_SECONDS = 10.0
_FAIL0007 = "FAIL0007 Ready is said of a spec that has long been another"
_TAKEN_BACK = "a verdict on another spec is said of the new one, and taken back"
_STORM = "statuses come faster than one a second"
_MOST_AT_ONCE = 10  # transitions are written at once, and a slow machine delivers some late; 4 were seen
MOST_EVENTS = 10
_RECONCILE_AT = "models.rbee.dev/reconcileAt"

Document = dict[str, Any]


@dataclass(frozen=True)
class Version:
    """`at` is when the watch sent it, in seconds since the epoch: the Lease has times of the wall clock, too."""

    at: float
    document: Document

    @property
    def generation(self) -> int:
        return int(self.document["metadata"]["generation"])

    @property
    def status(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.document["status"]
        return found

    def annotation(self, key: str) -> str | None:
        value: str | None = (self.document["metadata"].get("annotations") or {}).get(key)
        return value


@dataclass(frozen=True)
class Reign:
    """The time in which one operator certainly acted, in seconds since the epoch."""

    since: float
    until: float


def complaints(versions: Sequence[Version], reign: Reign | None) -> list[str]:
    """The rules that an object has broken, one line for each.

    `versions` are all of its versions, oldest first; `reign` is that of the last operator, None without one.
    """
    known_at = _known_at(versions)
    written = _with_their_specs(_written(versions), versions)
    found = [(rule, version) for version in written for rule in broken_rules(version.document)]
    found += [(rule, new) for old, new in pairwise(written) for rule in broken_steps(old.document, new.document)]
    found += [(_TAKEN_BACK, one) for one, then in _verdicts_on_another_spec(written) if _is_taken_back(one, then)]
    found += [(_FAIL0007, one) for one in written if _is_stale(one) and one.at > known_at[one.generation]]
    found += [(_STORM, one) for one in _one_too_many(written)]
    if reign and _is_left_behind(versions[-1], known_at, reign):
        found.append((_FAIL0007, versions[-1]))
    return [f"{version.document['metadata']['name']}: {rule}: {version.status}" for rule, version in found]


def event_storms(items: Iterable[Document], most: int = MOST_EVENTS) -> list[str]:
    """The objects with more than `most` Events. An Event that is repeated counts each time (its `count`)."""
    told: Counter[tuple[str, str]] = Counter()
    for item in items:
        told[item["involvedObject"]["name"], item["involvedObject"]["uid"]] += item.get("count") or 1
    return [f"{name}: {count} Events" for (name, _), count in told.items() if count > most]


def _written(versions: Sequence[Version]) -> list[Version]:
    """The versions that changed the status; the others are edits."""
    pairs = zip([None, *versions], versions, strict=False)
    return [new for old, new in pairs if (new.status != old.status if old else "conditions" in new.status)]


def _with_their_specs(written: Sequence[Version], versions: Sequence[Version]) -> list[Version]:
    """Each version with the spec of its observedGeneration instead of the newest spec."""
    specs = {version.generation: version.document["spec"] for version in versions}

    def with_its_spec(one: Version) -> Version:
        spec = specs.get(one.status["observedGeneration"], one.document["spec"])
        return replace(one, document={**one.document, "spec": spec})

    return [with_its_spec(one) for one in written]


def _verdicts_on_another_spec(written: Sequence[Version]) -> Iterator[tuple[Version, Version]]:
    """Each such version with the next one that was written."""
    for before, one, then in zip(written, written[1:], written[2:], strict=False):
        if is_verdict_on_another_spec(before.document, one.document):
            yield one, then


def _is_taken_back(one: Version, then: Version) -> bool:
    """Whether the verdict changed soon, without an edit and without a request for a new try.

    A retry comes later, so no try had been made for `one`.
    """
    asked = [(version.generation, version.annotation(_RECONCILE_AT)) for version in (one, then)]
    is_soon = then.at - one.at < _LATE_SECONDS
    return is_soon and asked[0] == asked[1] and verdict(one.document) != verdict(then.document)


def _one_too_many(written: Sequence[Version]) -> Iterator[Version]:
    """The first version that exceeds a burst of `_MOST_AT_ONCE` statuses; the burst refills at one a second."""
    at_once, before = 0.0, -math.inf
    for one in written:
        at_once = max(0.0, at_once - (one.at - before)) + 1
        before = one.at
        if at_once > _MOST_AT_ONCE:
            yield one
            return


def _known_at(versions: Sequence[Version]) -> dict[int, float]:
    """For each generation, the time from which a status must not be about an earlier one."""
    return {version.generation: version.at + _LATE_SECONDS for version in reversed(versions)}


def _is_left_behind(last: Version, known_at: Mapping[int, float], reign: Reign) -> bool:
    """Whether the status is not about the newest spec, although an operator had the time to write it."""
    is_deleted = "deletionTimestamp" in last.document["metadata"]
    since = max(known_at[last.generation], reign.since + _START_SECONDS)
    return _is_stale(last) and not is_deleted and reign.until > since


def _is_stale(version: Version) -> bool:
    ready = condition(version.document, "Ready")
    behind = version.status["observedGeneration"] < version.generation
    return bool(behind and ready and ready["status"] == "True")
