"""Objects as the API server returns them, kept as YAML files, so that a change of what users see shows in a diff.

Called by tests. `UPDATE_GOLDENS=1 pytest` on the tests that compare them writes them again; git shows what changed.
"""

import difflib
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
    """Fails if `document`, as JSON, is not the golden; writes the golden if UPDATE_GOLDENS is set."""
    golden = GOLDENS / kind / f"{case}.yaml"
    sent = json.loads(json.dumps(document))
    if os.environ.get("UPDATE_GOLDENS"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(yaml.safe_dump(sent, width=120, allow_unicode=True))
    assert golden.exists(), f"there is no {golden.name}; write it with `UPDATE_GOLDENS=1 pytest`"
    kept = yaml.safe_load(golden.read_text())
    assert sent == kept, (
        f"{golden.name}: see the change with `UPDATE_GOLDENS=1 pytest` and git diff\n{_change(kept, sent)}"
    )


def _change(kept: object, sent: object) -> str:
    before, after = (yaml.safe_dump(one, width=120, allow_unicode=True).splitlines() for one in (kept, sent))
    return "\n".join(difflib.unified_diff(before, after, "kept", "sent", lineterm=""))


def assert_all_used(kind: str, cases: Iterable[str]) -> None:
    """Fails if a golden of the set belongs to no case: it would test nothing and mislead readers."""
    left = sorted({file.name for file in (GOLDENS / kind).iterdir()} - {f"{case}.yaml" for case in cases})
    assert not left, f"no case makes {left}; delete the files"
