"""docs/adoption-checklist.md: each row names tests and make targets that exist, and 34 rows at least are done."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "adoption-checklist.md").read_text()
LEAST_DONE = 34


class Row(NamedTuple):
    """The cells of a row."""

    number: str
    question: str
    state: str
    shown_by: str


ROWS = [
    Row(*(cell.strip() for cell in line.strip("|").split("|")))
    for line in PAGE.partition("<!-- rows:")[2].partition("<!-- end of rows -->")[0].splitlines()
    if re.match(r"\| \d", line)
]


def named_by(row: Row) -> list[tuple[str, str]]:
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row.shown_by)


def exists(file: str, name: str) -> bool:
    source = ROOT / file
    return source.exists() and bool(re.search(rf"^(async )?def {name}\(", source.read_text(), re.MULTILINE))


def test_the_rows_are_numbered_from_1_to_40() -> None:
    assert [row.number for row in ROWS] == [str(number) for number in range(1, 41)]


def test_at_least_34_rows_are_done_and_each_other_one_says_why() -> None:
    others = [row for row in ROWS if row.state != "done"]
    assert len(ROWS) - len(others) >= LEAST_DONE
    assert [row.number for row in others if not re.match(r"not done: \w.{40,}", row.state)] == []


def test_every_row_is_shown_by_a_test() -> None:
    assert [row.number for row in ROWS if not named_by(row)] == []


def test_every_test_that_is_named_exists() -> None:
    named = [(row.number, file, name) for row in ROWS for file, name in named_by(row)]
    assert len(named) == PAGE.count("::"), "a test is not written as `tests/FILE.py::NAME`"
    assert [(number, file, name) for number, file, name in named if not exists(file, name)] == []


def test_every_make_target_that_is_named_exists() -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"`make ([\w-]+)`", PAGE)) <= set(targets)
