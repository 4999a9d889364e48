"""`docs/values.md` is what `values.yaml` says."""

import os
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.chart.rendering import ROOT
from tests.chart.values_page import page

VALUES = ROOT / "values.yaml"
PAGE = ROOT / "docs" / "values.md"


def test_the_page_is_made_of_the_values() -> None:
    made = page(VALUES.read_text())
    if os.environ.get("UPDATE_GOLDENS"):
        PAGE.write_text(made)
    assert made == PAGE.read_text(), "a value has changed; see it with `UPDATE_GOLDENS=1 pytest` and git diff"


def test_every_value_is_on_the_page_or_part_of_a_default_there() -> None:
    listed = set(re.findall(r"^\| `([\w.]+)` \| `", PAGE.read_text(), re.MULTILINE))
    missing = [path for path in paths(yaml.safe_load(VALUES.read_text())) if not {*prefixes(path)} & listed]
    assert missing == []
    assert len(listed) > 80


def paths(node: Any, before: str = "") -> Iterator[str]:
    """The path of each value that is no object."""
    if not isinstance(node, dict) or not node:
        yield before
        return
    for name, child in node.items():
        yield from paths(child, f"{before}.{name}".lstrip("."))


def prefixes(path: str) -> Iterator[str]:
    """The path itself, and that of each object around it."""
    parts = path.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))
