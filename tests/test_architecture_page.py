"""docs/architecture.md says what the code is: the states, the contracts, and files that exist."""

import os
import re
import tomllib
from dataclasses import fields
from pathlib import Path

from model_provisioner.domain.errors import DigestMismatch, SourceNotFound, SourceUnavailable
from model_provisioner.domain.lifecycle.events import (
    Available,
    Event,
    Failed,
    FilesSeen,
    Lost,
    Progressed,
    Queued,
    ReconcileHandled,
    Redefined,
    Rereading,
    Resolved,
    Resolving,
    Started,
    Suspended,
    Terminating,
    VerifyHandled,
    Verifying,
)
from model_provisioner.domain.lifecycle.snapshot import _RULES, Snapshot, advance
from tests.support.samples import MODEL, NOW, after

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGE = ROOT / "operator" / "model_provisioner"
BEGIN = "<!-- state table: written by `UPDATE_GOLDENS=1 pytest tests/test_architecture_page.py` -->\n"
END = "<!-- end of state table -->"

DOWNLOADING = after(Started(MODEL, 0), Progressed(600, 0, 100, 4))
READY = after(Available(MODEL), start=DOWNLOADING)
EVENTS: dict[str, Event] = {
    "Resolving": Resolving("asking"),
    "Resolved": Resolved(MODEL),
    "Redefined": Redefined(),
    "Queued": Queued("waiting"),
    "Suspended": Suspended(),
    "Started": Started(MODEL, 600),
    "Progressed": Progressed(700, 0, 100, 3),
    "Progressed, after bytes were thrown away": Progressed(10, 1, 100, 10),
    "Verifying": Verifying(0, 1000),
    "Available": Available(MODEL),
    "Rereading": Rereading(500, 1000),
    "VerifyHandled": VerifyHandled("now"),
    "FilesSeen": FilesSeen("pv-1"),
    "Lost": Lost("gone"),
    "Failed with a Retryable error": Failed(SourceUnavailable("down"), NOW),
    "Failed with a Terminal error that is tried again": Failed(SourceNotFound("not there"), NOW),
    "Failed with a Terminal error that is not": Failed(DigestMismatch("differs"), None),
    "ReconcileHandled": ReconcileHandled("now"),
    "Terminating": Terminating("being deleted"),
}


def test_the_states_are_those_of_the_code() -> None:
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    wanted = f"{head}{BEGIN}{state_table()}{END}{tail}"
    if os.environ.get("UPDATE_GOLDENS"):
        PAGE.write_text(wanted)
    assert PAGE.read_text() == wanted, "see the change with `UPDATE_GOLDENS=1 pytest` and git diff"


def test_every_event_is_in_the_table() -> None:
    assert {type(event) for event in EVENTS.values()} == set(_RULES)


def test_the_contracts_are_those_of_import_linter() -> None:
    listed = PAGE.read_text().partition("<!-- contracts:")[2].partition("<!-- end of contracts -->")[0]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert re.findall(r"^- (.+)$", listed, re.MULTILINE) == [contract["name"] for contract in contracts]


def test_every_file_that_is_named_exists() -> None:
    named = re.findall(r"([a-z_]+(?:/[a-z_]+)+\.py)", PAGE.read_text())
    assert len(named) > 25
    missing = [name for name in named if not ((PACKAGE / name).exists() or (ROOT / name).exists())]
    assert missing == []


def state_table() -> str:
    rows = [
        "| event | an object that downloads | a Ready object |",
        "|---|---|---|",
        *(f"| {name} | {_change(DOWNLOADING, event)} | {_change(READY, event)} |" for name, event in EVENTS.items()),
    ]
    return "\n".join(rows) + "\n"


def _change(before: Snapshot, event: Event) -> str:
    """What is different after `event`, in the words of the status."""
    found = advance(before, event, NOW)
    if found == before:
        return "no change"
    said = []
    if found.reason != before.reason:
        said.append(f"`{found.reason}`")
    if found.ready != before.ready:
        said.append("Ready" if found.ready else "not Ready")
    if found.stalled:
        said.append("Stalled")
    numbers = [name for name in ("bytes", "attempts") if getattr(found, name) != getattr(before, name)]
    said += [f"{name} {getattr(found, name)}" for name in numbers]
    others = {field.name for field in fields(Snapshot) if getattr(found, field.name) != getattr(before, field.name)}
    return ", ".join([*said, *(f"`{name}`" for name in sorted(others - {"reason", "ready", "stalled", *numbers}))])
