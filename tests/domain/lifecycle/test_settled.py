"""A settled object is Ready, with the status that the operator would write and without an unhandled request."""

from dataclasses import replace

import pytest

from model_provisioner.domain.lifecycle.events import Available, Rereading, Resolved, Started
from model_provisioner.domain.lifecycle.settled import is_settled
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.modeldownload import ModelDownload, Spec, Status
from tests.support.samples import MODEL, NOW, after

READY = after(Resolved(MODEL), Started(MODEL, 0), Available(MODEL))
SETTLED = ModelDownload(
    namespace="models",
    name="tiny",
    uid="u",
    generation=2,
    resource_version="7",
    creation_time="2026-01-01T00:00:00Z",
    deleting=False,
    reconcile_at=None,
    verify_at=None,
    spec=Spec("hf:a/b"),
    status=project(READY, 2, NOW, Status()),
)


def test_what_the_operator_leaves_is_settled_at_any_time() -> None:
    assert is_settled(SETTLED, NOW)
    assert is_settled(SETTLED, NOW.replace(year=2030))


@pytest.mark.parametrize(
    "change",
    [
        {"deleting": True},
        {"generation": 3},
        {"reconcile_at": "now"},
        {"verify_at": "now"},
        {"status": Status()},
        {"status": project(after(Resolved(MODEL)), 2, NOW, Status())},
        {"status": project(after(Rereading(1, 1000), start=READY), 2, NOW, Status())},
        {"status": replace(SETTLED.status, model=None)},
        {"status": replace(SETTLED.status, attempts=-1)},
        {"status": replace(SETTLED.status, last_handled_verify_at="earlier")},
    ],
    ids="".join,
)
def test_anything_else_is_not(change: dict[str, object]) -> None:
    assert not is_settled(replace(SETTLED, **change), NOW)  # type: ignore[arg-type]  # of several types


def test_a_handled_request_leaves_it_settled() -> None:
    handled = replace(SETTLED.status, last_handled_verify_at="v", last_handled_reconcile_at="r")
    assert is_settled(replace(SETTLED, verify_at="v", reconcile_at="r", status=handled), NOW)
