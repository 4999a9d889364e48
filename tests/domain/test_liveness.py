"""When an operator counts as inactive, for an observer that reads its Lease now and then."""

import pytest

from model_provisioner.domain.liveness import LeaseObservation, is_renewed, observe

FIRST = LeaseObservation("1", "pod-a", 100.0)


def test_a_lease_that_changes_is_alive_however_long_ago_it_says_it_was_renewed() -> None:
    second = observe(FIRST, "2", "pod-a", 118.0)
    assert second == LeaseObservation("2", "pod-a", 118.0)
    assert is_renewed(second, 118.0)


@pytest.mark.parametrize(("now", "alive"), [(100.0, True), (120.0, True), (120.1, False)])
def test_a_lease_that_is_not_renewed_is_dead(now: float, *, alive: bool) -> None:
    assert is_renewed(observe(FIRST, "1", "pod-a", now), now) is alive


def test_a_lease_that_was_given_up_is_dead_at_once() -> None:
    assert not is_renewed(observe(FIRST, "2", "", 101.0), 101.0)


def test_the_first_look_gives_the_benefit_of_the_doubt() -> None:
    assert is_renewed(observe(None, "7", "pod-a", 3.0), 3.0)
