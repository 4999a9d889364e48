"""What a transfer waits for, and its text."""

import pytest

from model_provisioner.domain.download.waiting import Wait

ORIGIN = "https://mirror.example"


@pytest.mark.parametrize(("seconds", "shown"), [(5.0, 5), (9.9, 5), (36.2, 35), (3600.0, 3600)])
def test_it_changes_every_five_seconds(seconds: float, shown: int) -> None:
    assert Wait.of(ORIGIN, seconds, begun=False) == Wait(ORIGIN, shown, begun=False)


def test_less_than_five_seconds_is_not_worth_a_word() -> None:
    assert Wait.of(ORIGIN, 4.9, begun=False) is None


def test_the_text_names_the_source_and_whether_it_has_answered() -> None:
    assert str(Wait(ORIGIN, 35, begun=False)) == f"waiting for the first byte from {ORIGIN} for 35s"
    assert str(Wait(ORIGIN, 65, begun=True)) == f"no byte from {ORIGIN} for 1m05s"
