"""Makes `docs/values.md` of `values.yaml`: each value with its default and the comment above it. Called by a test."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

_HEAD = """\
# Values

Every value of the chart, made of [values.yaml](../values.yaml) by `UPDATE_GOLDENS=1 .venv/bin/python -m pytest
tests/chart/test_values_page.py`. Helm refuses a name that is not here. [deploy/values](../deploy/values) has sets of
values for common clusters; [install.md](install.md#common-settings) says which values go together.
"""
_KEY = re.compile(r"( *)(\w+):(.*)")


@dataclass(frozen=True)
class Value:
    """One value. `section` has other values in it, which follow; `default` is then meaningless."""

    path: tuple[str, ...]
    meaning: str
    default: Any
    is_section: bool


def page(text: str) -> str:
    """The page for a file of values. A value that no comment explains belongs to the default of the one above it."""
    values = list(_values(text))
    sections = [value for value in values if value.is_section and len(value.path) == 1]
    alone = [value for value in values if not value.is_section and len(value.path) == 1]
    parts = [_HEAD, "\n## Values without a section\n\n", _table(alone)]
    for section in sections:
        inner = [value for value in values if value.path[0] == section.path[0] and len(value.path) > 1]
        parts += [f"\n## {section.path[0]}\n\n{section.meaning}\n\n", _table(inner)]
    return "".join(parts)


def _table(values: Sequence[Value]) -> str:
    rows = [f"| `{'.'.join(value.path)}` | {_default(value)} | {_cell(value.meaning)} |\n" for value in values]
    return "| value | default | meaning |\n|---|---|---|\n" + "".join(rows)


def _default(value: Value) -> str:
    return "" if value.is_section else f"`{_cell(json.dumps(value.default, ensure_ascii=False))}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _values(text: str) -> Iterator[Value]:
    """The explained values in their order."""
    defaults = yaml.safe_load(text)
    lines = text.splitlines()
    path: list[str] = []
    comment: list[str] = []
    for number, line in enumerate(lines):
        if line.strip().startswith("#"):
            comment.append(line.strip("# "))
            continue
        key = _KEY.fullmatch(line)
        if key and comment:
            depth = len(key[1]) // 2
            path = [*path[:depth], key[2]]
            follows = lines[number + 1].strip() if number + 1 < len(lines) else ""
            yield Value(tuple(path), " ".join(comment), _at(defaults, path), not key[3].strip() and follows[:1] == "#")
        comment = []


def _at(document: Any, path: Sequence[str]) -> Any:
    for name in path:
        document = document[name]
    return document
