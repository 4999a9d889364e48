"""When it is written that the files of a model were seen, and which versions of an object are the same but for that."""

from dataclasses import replace
from datetime import timedelta

import pytest

from model_provisioner.domain.lifecycle.checks import is_due, is_same, seen
from model_provisioner.domain.lifecycle.events import Available
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.modeldownload import ModelDownload, Spec, Status
from tests.support.samples import MODEL, NOW, after

CHECKED = replace(MODEL, last_check_time="2026-01-01T00:00:00Z", volume_name="pv-1")


def test_what_was_seen_has_the_time_and_the_volume() -> None:
    assert seen(MODEL, NOW, "pv-1") == CHECKED
    assert seen(CHECKED, NOW + timedelta(hours=2), None).volume_name == "pv-1", "it is only not known now"


@pytest.mark.parametrize(
    ("later", "volume_name", "due"),
    [
        (timedelta(), "pv-1", False),
        (timedelta(minutes=59), "pv-1", False),
        (timedelta(minutes=60), "pv-1", True),
        (timedelta(minutes=-1), "pv-1", True),
        (timedelta(minutes=1), None, False),
        (timedelta(minutes=1), "pv-2", True),
    ],
)
def test_it_is_written_once_an_hour_or_if_the_volume_is_another(
    later: timedelta, volume_name: str | None, due: bool
) -> None:
    assert is_due(CHECKED, NOW + later, volume_name) is due


def test_the_first_time_is_always_written() -> None:
    assert is_due(MODEL, NOW, None)


def test_only_what_nothing_depends_on_may_differ() -> None:
    status = project(after(Available(MODEL)), 1, NOW, Status())
    one = ModelDownload(
        "n", "tiny", "uid", 1, "7", "", deleting=False, reconcile_at=None, spec=Spec("hf:a/b"), status=status
    )
    assert is_same(one, replace(one, resource_version="8", status=replace(status, model=CHECKED)))
    for changed in (
        replace(one, reconcile_at="now"),
        replace(one, verify_at="now"),
        replace(one, generation=2),
        replace(one, status=replace(status, attempts=2)),
        replace(one, status=replace(status, model=replace(MODEL, store_id="other"))),
    ):
        assert not is_same(one, changed)
