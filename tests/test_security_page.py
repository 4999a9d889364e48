"""docs/security.md: each promise names a test that exists."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "security.md"
PROMISES = re.findall(r"^\| .+ \| `([\w/]+\.py)`: (test_\w*) \|$", PAGE.read_text(), re.MULTILINE)


def test_every_promise_names_a_test() -> None:
    tables = re.findall(r"^\| promise \| test \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    rows = [line for table in tables for line in table.splitlines()]
    assert len(PROMISES) == len(rows) > 20


def test_every_test_that_is_named_exists() -> None:
    missing = [
        (file, name)
        for file, name in PROMISES
        if not (TESTS / file).exists() or not re.search(rf"def {name}", (TESTS / file).read_text())
    ]
    assert missing == []
