"""Every rule fails for some document, or for some step from one document to the next."""

from typing import Any

import pytest

from model_provisioner.domain.errors import Terminal
from tests.support.conditions import RULES, STEPS, broken_rules, broken_steps, condition, kstatus
from tests.support.goldens import read_goldens
from tests.support.test_judgement import LATER, document, edited, kinds, stated

Document = dict[str, Any]


def with_conditions(*pairs: tuple[str, str], observed: int = 1, **said: Any) -> Document:
    """An object whose conditions have these values and one reason, with the fields `said` in each condition."""
    return document(conditions=[stated(kind, value, "Available", observed) | said for kind, value in pairs])


def waiting(since: str) -> Document:
    pairs = kinds("Queued")
    return with_conditions(*pairs, reason="Queued", lastTransitionTime=f"2026-01-01T00:00:0{since}Z")


def fetching(count: int, **status: Any) -> Document:
    return document("Downloading", progress={"bytes": count}, **status)


READY, RECONCILING, STALLED = (("Ready", "True"), ("Reconciling", "True"), ("Stalled", "True"))
GOOD = [
    document("Available"),
    document("Downloading"),
    document("SourceNotFound"),
    document("Suspended", spec={"suspend": True}),
    document("Available", generation=2, observed=1),
    with_conditions(("Ready", "False")),
]
FAIL0003, FAIL0004 = "FAIL0003 Reconciling means not Ready", "FAIL0004 Stalled means not Ready"
FAIL0011 = "FAIL0011 unknown means Reconciling"
WRONG: dict[str, list[tuple[Document, set[str]]]] = {
    "FAIL0001 neither Reconciling nor Stalled beside Ready": [
        (with_conditions(READY, RECONCILING), {FAIL0003}),
        (with_conditions(READY, STALLED), {FAIL0004}),
    ],
    "FAIL0002 Ready is always there": [
        (document(conditions=[]), set()),
        ({**document(), "status": {"observedGeneration": 1}}, set()),
        (with_conditions(RECONCILING), {FAIL0003}),
    ],
    FAIL0003: [(with_conditions(("Ready", "Unknown"), RECONCILING), set())],
    FAIL0004: [(with_conditions(("Ready", "Unknown"), STALLED), {FAIL0011})],
    "FAIL0005 never Reconciling and Stalled": [(with_conditions(("Ready", "False"), RECONCILING, STALLED), set())],
    "FAIL0006 no generation that is not yet": [(document(observed=2), set())],
    "FAIL0009 Ready is about the observed generation": [
        (with_conditions(READY, observed=0), set()),
        (with_conditions(READY, observed=2), set()),
    ],
    FAIL0011: [(with_conditions(("Ready", "Unknown")), set())],
    "absent rather than False": [
        (with_conditions(READY, ("Reconciling", "False")), set()),
        (with_conditions(READY, ("Stalled", "False")), set()),
    ],
    "a word and a sentence": [
        (with_conditions(READY, reason="Two words"), set()),
        (with_conditions(READY, reason=""), set()),
        (with_conditions(READY, message=""), set()),
    ],
    "all conditions tell one story": [
        (document(conditions=[stated("Ready", "False", "One", 1), stated("Stalled", "True", "Other", 1)]), set())
    ],
    "Suspended is who should be": [(document("Suspended"), set())],
    "Ready has a path, a size and a digest": [
        (document(model={"path": "hf/t.gguf", "sizeBytes": 1}), set()),
        ({**document(), "status": {key: it for key, it in document()["status"].items() if key != "model"}}, set()),
    ],
}
GOOD_STEPS = [
    (document("Downloading"), document("Available")),
    (fetching(5), fetching(5)),
    (fetching(5), fetching(0, attempts=2)),
    (document("SourceNotFound", **LATER), document("SourceNotFound", 2, 2, {"priority": 3}, **LATER)),
    (waiting(since="1"), waiting(since="1")),
    (waiting(since="1"), with_conditions(READY, lastTransitionTime="2026-01-01T00:00:02Z")),
]
WRONG_STEPS: dict[str, list[tuple[Document, Document]]] = {
    "bytes never fall within an attempt": [(fetching(5), fetching(4)), (fetching(5), document("Downloading"))],
    "a transition time moves only with its value": [(waiting(since="1"), waiting(since="2"))],
    "observedGeneration never falls": [(document(generation=2, observed=2), document(generation=2, observed=1))],
    "no old retry for a new spec": [(document("SourceNotFound", **LATER), edited("SourceNotFound", **LATER))],
}


def test_there_is_a_document_for_each_rule() -> None:
    assert set(WRONG) == set(RULES)
    assert set(WRONG_STEPS) == set(STEPS)


@pytest.mark.parametrize("good", GOOD)
def test_what_is_right_breaks_no_rule(good: Document) -> None:
    assert broken_rules(good) == []


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_breaks_the_rule(name: str) -> None:
    for wrong, others in WRONG[name]:
        assert set(broken_rules(wrong)) == {name} | others


@pytest.mark.parametrize("steps", GOOD_STEPS)
def test_a_step_that_is_right_breaks_no_rule(steps: tuple[Document, Document]) -> None:
    assert broken_steps(*steps) == []


@pytest.mark.parametrize("name", WRONG_STEPS)
def test_a_step_that_is_wrong_breaks_the_rule(name: str) -> None:
    for before, after in WRONG_STEPS[name]:
        assert broken_steps(before, after) == [name]


@pytest.mark.parametrize("field", ["modelRef", "digest", "credentialsSecretRef", "endpoint", "suspend"])
def test_every_edit_that_makes_a_new_try_asks_for_a_new_verdict(field: str) -> None:
    before, after = (document("SourceNotFound", spec={field: value}, **LATER) for value in ("one", "other"))
    assert broken_steps(before, after) == ["no old retry for a new spec"]


FALSE_FIRST = (("Stalled", "False"), ("Reconciling", "False"))
KSTATUS: list[tuple[Document, str]] = [
    (document(), "Current"),
    (document("Downloading"), "InProgress"),
    (document("SourceNotFound"), "Failed"),
    (document("Suspended"), "InProgress"),
    (document("SourceNotFound", generation=2), "InProgress"),
    (document("SourceNotFound", generation=1, observed=2), "InProgress"),
    (document(observed=-1, conditions=[]), "InProgress"),
    (with_conditions(("Ready", "Unknown")), "InProgress"),
    (with_conditions(("Ready", "strange")), "Current"),
    (with_conditions(READY, RECONCILING), "InProgress"),
    (with_conditions(READY, STALLED), "Failed"),
    (with_conditions(RECONCILING, STALLED), "InProgress"),
    (with_conditions(STALLED, RECONCILING), "Failed"),
    (with_conditions(*FALSE_FIRST, READY), "Current"),
    (with_conditions(*FALSE_FIRST, ("Ready", "False")), "InProgress"),
    (with_conditions(("Other", "True")), "Current"),
    ({"metadata": {"name": "of no controller", "generation": 1}, "spec": {}}, "Current"),
    ({"metadata": {"name": "never edited"}, "status": {"observedGeneration": 1}}, "Current"),
    ({**document("SourceNotFound"), "metadata": {"generation": 2, "deletionTimestamp": "then"}}, "Terminating"),
]
GOLDENS = [golden for kind in ("status", "cluster") for golden in read_goldens(kind).values()]


@pytest.mark.parametrize(("version", "verdict"), KSTATUS)
def test_kstatus_is_the_one_of_its_source(version: Document, verdict: str) -> None:
    assert kstatus(version) == verdict


def test_kstatus_makes_of_every_status_what_the_page_about_it_says() -> None:
    """Current when Available, Failed if a user must act (docs/modeldownload.md), else InProgress."""
    stalled = {error.__name__ for error in Terminal.__subclasses__()}
    expected = dict.fromkeys(stalled, "Failed") | {"Available": "Current"}
    found = {(_reason(golden), kstatus(golden)) for golden in GOLDENS}
    assert found == {(reason, expected.get(reason, "InProgress")) for reason, _ in found}
    assert {verdict for _, verdict in found} == {"Current", "Failed", "InProgress"}
    assert stalled <= {reason for reason, _ in found}


def _reason(golden: Document) -> str:
    ready = condition(golden, "Ready")
    assert ready is not None
    return str(ready["reason"])
