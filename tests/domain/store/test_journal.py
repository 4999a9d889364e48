"""The bytes of a part are continued only if journal, part and plan agree exactly."""

from dataclasses import replace

import pytest

from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.journal import Decision, Journal, Restart, Resume, Superseded, decide
from model_provisioner.domain.store.plan import PlannedFile

FILE = PlannedFile("hf/a/b/x.gguf", 100, Digest("ab" * 32), "hf:a/b:x.gguf", "https://hub/x")
SPANS = Spans().add(0, 40).add(60, 70)
JOURNAL = Journal(FILE.source, FILE.size, FILE.digest, epoch=3, restarts=2, spans=SPANS)
EMPTY = replace(JOURNAL, spans=Spans())

CASES: list[tuple[str, Journal | None, int | None, Decision]] = [
    ("nothing there", None, None, Restart("no part yet", 0)),
    ("an empty part without journal", None, 0, Restart("no part yet", 0)),
    ("a part without journal", None, 100, Restart("the journal is missing or damaged", 1)),
    ("everything agrees", JOURNAL, 100, Resume(SPANS, 2)),
    ("an older writer", replace(JOURNAL, epoch=2), 100, Resume(SPANS, 2)),
    ("a newer writer", replace(JOURNAL, epoch=4), 100, Superseded(4)),
    ("a newer writer of another file", replace(JOURNAL, epoch=4, size=1), None, Superseded(4)),
    ("no byte yet", EMPTY, 100, Resume(Spans(), 2)),
    ("no byte yet and no part", EMPTY, None, Restart("the part is gone", 2)),
    ("the part is gone", JOURNAL, None, Restart("the part is gone", 3)),
    ("a short part", JOURNAL, 70, Restart("the part has another length than the file", 3)),
    ("a long part", JOURNAL, 101, Restart("the part has another length than the file", 3)),
    ("an empty part", JOURNAL, 0, Restart("the part has another length than the file", 3)),
    ("another source", replace(JOURNAL, source="hf:a/c:x.gguf"), 100, Restart("the journal is of another file", 3)),
    ("another size", replace(JOURNAL, size=99), 100, Restart("the journal is of another file", 3)),
    ("another digest", replace(JOURNAL, digest=None), 100, Restart("the journal is of another file", 3)),
    (
        "bytes past the end",
        replace(JOURNAL, spans=Spans().add(0, 101)),
        100,
        Restart("the journal tells of bytes past the end of the file", 3),
    ),
]


@pytest.mark.parametrize(("journal", "part_size", "decision"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_the_decision(journal: Journal | None, part_size: int | None, decision: Decision) -> None:
    assert decide(journal, part_size, FILE, epoch=3) == decision


@pytest.mark.parametrize(
    ("recorded", "published", "resumed"),
    [
        ("https://hub", False, True),
        ("https://other", False, False),
        ("https://other", True, True),
        (None, False, False),
        (None, True, True),
    ],
)
def test_bytes_of_another_or_an_unknown_hub_need_a_published_digest(
    recorded: str | None, published: bool, resumed: bool
) -> None:
    """Earlier versions recorded no hub. A digest that the user gave is not one that the hub publishes."""
    file = replace(FILE, endpoint="https://hub", digest_published=published)
    found = decide(replace(JOURNAL, endpoint=recorded), 100, file, epoch=3)
    assert isinstance(found, Resume) is resumed
