"""The complaints about the versions of objects, with versions that the tests make up."""

from typing import Any

from tests.support.judgement import Reign, Version, complaints, event_storms

LONG_AGO = Reign(since=-100.0, until=-90.0)
SPEC = {"modelRef": "hf:acme/tiny"}
MODEL = {"path": "hf/acme/tiny/t.gguf", "sizeBytes": 100, "digestSource": "Source"}


def document(
    reason: str = "Available", generation: int = 1, observed: int = 1, spec: dict[str, Any] | None = None, **status: Any
) -> dict[str, Any]:
    """An object with `reason` in all conditions, which breaks no rule."""
    return {
        "metadata": {"name": "tiny", "generation": generation},
        "spec": SPEC | (spec or {}),
        "status": {
            "observedGeneration": observed,
            "conditions": [stated(kind, value, reason, observed) for kind, value in kinds(reason)],
            "model": MODEL,
            **status,
        },
    }


def kinds(reason: str) -> list[tuple[str, str]]:
    if reason in {"Available", "Suspended"}:
        return [("Ready", str(reason == "Available"))]
    is_bad = reason in {"SourceNotFound", "NotGGUF"}
    return [("Ready", "False"), ("Stalled" if is_bad else "Reconciling", "True")]


def stated(kind: str, value: str, reason: str, observed: int) -> dict[str, Any]:
    since = "2026-01-01T00:00:00Z"
    said = {"reason": reason, "message": f"it is {reason}", "lastTransitionTime": since}
    return {"type": kind, "status": value, "observedGeneration": observed, **said}


def told(*life: tuple[float, dict[str, Any]], reign: Reign | None = LONG_AGO) -> list[str]:
    """The rules that these versions break; times are in seconds."""
    found = complaints([Version(at, document) for at, document in life], reign)
    assert all(complaint.startswith("tiny: ") for complaint in found)
    return [complaint.split(": ")[1] for complaint in found]


def test_a_good_life() -> None:
    new = {"metadata": {"name": "tiny", "generation": 1}, "spec": SPEC, "status": {"observedGeneration": -1}}
    assert told((0, new), (1, document("Downloading")), (30, document()), (60, document(generation=2))) == []


def test_what_one_version_breaks_is_told() -> None:
    wrong = document()
    wrong["status"]["conditions"] += document("Downloading")["status"]["conditions"][1:]
    assert "FAIL0001 neither Reconciling nor Stalled beside Ready" in told((0, document()), (1, wrong))


def test_the_first_version_is_judged_too() -> None:
    assert told((0, document(model={}))) == ["Ready has a path, a size and a digest"]


def test_a_status_without_conditions_is_none() -> None:
    assert told((0, document()), (1, document(conditions=[]))) == ["FAIL0002 Ready is always there"]


def test_what_one_step_breaks_is_told() -> None:
    rule = "bytes never fall within an attempt"
    steps = [document("Downloading", progress={"bytes": count}) for count in (5, 4)]
    assert told((0, steps[0]), (1, steps[1])) == [rule]
    edited = document("Downloading", generation=2, progress={"bytes": 5})
    assert told((0, steps[0]), (1, edited), (2, steps[1])) == [rule], "an edit between them hides nothing"


FAIL0007 = "FAIL0007 Ready is said of a spec that has long been another"


def test_ready_may_be_said_of_the_spec_before_for_a_moment_only() -> None:
    edited, written = document(generation=2), document(generation=2, attempts=1)
    assert told((0, document()), (10, edited), (14, written)) == []
    assert told((0, document()), (10, edited), (16, written)) == [FAIL0007]
    assert told((0, document()), (10, edited), (14, written), (16, document(generation=2, attempts=2))) == [FAIL0007]
    assert told((0, document()), (10, edited), (16, document("Downloading", generation=2))) == []


def test_an_edit_is_as_old_as_it_is_however_often_others_follow() -> None:
    labels = document(generation=2)
    labels["metadata"]["labels"] = {"some": "other"}
    written, third = (document(generation=number, attempts=1) for number in (2, 3))
    assert told((0, document()), (10, document(generation=2)), (15, labels), (16, written)) == [FAIL0007]
    assert told((0, document()), (10, document(generation=2)), (15, document(generation=3)), (16, third)) == []


def test_an_edit_that_an_acting_operator_never_answered() -> None:
    life = (0, document()), (10, document(generation=2))
    assert told(*life, reign=Reign(since=0, until=14)) == []
    assert told(*life, reign=Reign(since=0, until=16)) == [FAIL0007]
    assert told(*life, reign=Reign(since=10, until=16)) == [], "it has only just begun"
    assert told(*life, reign=None) == []
    life[1][1]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert told(*life, reign=Reign(since=0, until=16)) == [], "of what goes nobody writes"


OLD_RETRY = "no old retry for a new spec"
TAKEN_BACK = "a verdict on another spec is said of the new one, and taken back"
SUSPENDED = "Suspended is who should be"
LATER: dict[str, Any] = {"nextRetryTime": "2026-01-01T00:05:00Z"}


def edited(reason: str, generation: int = 2, observed: int = 2, **status: Any) -> dict[str, Any]:
    """After an edit that starts a new try."""
    return document(reason, generation, observed, {"digest": "sha256:00"}, **status)


def test_an_old_verdict_is_not_said_of_a_new_spec() -> None:
    before = 0, document("SourceNotFound", **LATER)
    assert told(before, (1, edited("SourceNotFound", **LATER))) == [OLD_RETRY]
    assert told(before, (1, edited("SourceNotFound", nextRetryTime="2026-01-01T00:05:01Z"))) == []
    assert told(before, (1, edited("Downloading")), (2, edited("SourceNotFound", **LATER))) == []
    assert told(before, (1, document("SourceNotFound", 2, 2, {"priority": 3}, **LATER))) == []


def test_a_verdict_that_holds_for_a_new_spec_too_is_not_taken_back() -> None:
    before, again = (0, document("NotGGUF")), (1, edited("NotGGUF"))
    assert told(before, again) == []
    assert told(before, again, (2, edited("Downloading"))) == [TAKEN_BACK]
    assert told(before, again, (2, edited("SourceNotFound"))) == [TAKEN_BACK]
    assert told(before, again, (20, edited("Downloading"))) == [], "by itself, or after a restart"
    assert told(before, again, (2, edited("Downloading", 3, 3))) == [], "asked for by an edit"
    asked = edited("Downloading")
    asked["metadata"]["annotations"] = {"models.rbee.dev/reconcileAt": "now"}
    assert told(before, again, (2, asked)) == []


def test_a_status_goes_with_the_spec_that_it_is_about() -> None:
    behind = edited("NotGGUF", observed=1, attempts=1)
    assert told((0, document("NotGGUF")), (1, behind), (2, edited("NotGGUF")), (3, edited("Queued"))) == [TAKEN_BACK]


def test_only_who_should_be_is_suspended() -> None:
    paused = document("Suspended", spec={"suspend": True})
    assert told((0, document("Queued", 1, 1, {"suspend": True})), (1, paused)) == []
    resumed = [document("Suspended", 2, observed, attempts=observed) for observed in (1, 2)]
    assert told((0, paused), (1, resumed[0])) == []
    assert told((0, paused), (1, resumed[1])) == [SUSPENDED]


STORM = "statuses come faster than one a second"


def progressing(count: int, each_seconds: float) -> list[tuple[float, dict[str, Any]]]:
    return [(number * each_seconds, document("Downloading", progress={"bytes": number})) for number in range(count)]


def test_progress_comes_once_a_second_for_long_and_not_twice() -> None:
    assert told(*progressing(1000, each_seconds=1)) == []
    assert told(*progressing(60, each_seconds=0.5)) == [STORM], "told once"


def test_transitions_come_at_once_but_not_in_a_loop() -> None:
    assert told(*progressing(10, each_seconds=0)) == []
    assert told(*progressing(11, each_seconds=0)) == [STORM]


def test_edits_are_no_statuses() -> None:
    assert told(*((number * 0.01, document(generation=number + 1)) for number in range(20))) == []


def event(reason: str, count: int | None, uid: str = "1") -> dict[str, Any]:
    return {"involvedObject": {"name": "tiny", "uid": uid}, "reason": reason, "count": count}


def test_events_that_count_up_are_counted() -> None:
    assert event_storms([event("SourceUnavailable", 9), event("Downloading", None)]) == []
    assert event_storms([event("SourceUnavailable", 9), event("Downloading", 1), event("Available", 1, uid="2")]) == []
    assert event_storms([event("SourceUnavailable", 9), event("Downloading", 2)]) == ["tiny: 11 Events"]
