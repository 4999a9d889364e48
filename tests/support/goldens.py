"""Objects as people get them from the API server, as YAML files: a change of what they see shows in a diff.

`UPDATE_GOLDENS=1 pytest` on the tests that hold them writes them anew; git shows what changed.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

GOLDENS = Path(__file__).parents[1] / "data" / "goldens"
"""One folder for each set, one file for each case in it."""

Document = dict[str, Any]


def read_goldens(kind: str) -> dict[str, Document]:
    """The objects of a set, by the name of their case."""
    return {file.stem: yaml.safe_load(file.read_text()) for file in sorted((GOLDENS / kind).iterdir())}


def assert_golden(kind: str, case: str, document: Document) -> None:
    """`document` is compared as the API server would get it, as JSON."""
    golden = GOLDENS / kind / f"{case}.yaml"
    sent = json.loads(json.dumps(document))
    if os.environ.get("UPDATE_GOLDENS"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(yaml.safe_dump(sent, width=120, allow_unicode=True))
    assert golden.exists(), f"there is no {golden.name}; write it with `UPDATE_GOLDENS=1 pytest`"
    assert sent == yaml.safe_load(golden.read_text()), "see the change with `UPDATE_GOLDENS=1 pytest` and git diff"


def assert_all_used(kind: str, cases: Iterable[str]) -> None:
    """A golden that no test compares with anything proves nothing and misleads its readers."""
    left = sorted({file.name for file in (GOLDENS / kind).iterdir()} - {f"{case}.yaml" for case in cases})
    assert not left, f"no case makes {left}; delete the files"
