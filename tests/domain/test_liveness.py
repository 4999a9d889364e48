"""When an operator counts as inactive, for an observer that reads its Lease now and then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.liveness import (
    ALONE,
    RENEWAL_SECONDS,
    SHARED,
    LeaseHolder,
    LeaseObservation,
    LeaseTerms,
    PodObservation,
    is_gone,
    is_renewed,
    lease_terms,
    observe,
    promised_seconds,
)

UID, ANOTHER = "1b4e28ba-2fa1-11d2-883f-0016d3cca427", "6fa459ea-ee8a-3ca4-894e-db77e160355e"
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


@pytest.mark.parametrize(
    ("identity", "holder"),
    [
        (f"operator-6c4f-x2x_{UID}", LeaseHolder("operator-6c4f-x2x", UID)),
        (f"a.b-c_{UID}", LeaseHolder("a.b-c", UID)),
        ("operator-6c4f-x2x", LeaseHolder("operator-6c4f-x2x")),
        ("my_host", LeaseHolder("my_host")),
        (f"_{UID}", LeaseHolder(f"_{UID}")),
        (f"My_Host_{UID}", LeaseHolder(f"My_Host_{UID}")),
        (f"pod_{UID}\n", LeaseHolder(f"pod_{UID}\n")),
        (f"pod_{UID.upper()}", LeaseHolder(f"pod_{UID.upper()}")),
        (f"{'a' * 254}_{UID}", LeaseHolder(f"{'a' * 254}_{UID}")),
        ("", LeaseHolder("")),
    ],
)
def test_an_identity_names_a_pod_only_in_the_form_that_we_write(identity: str, holder: LeaseHolder) -> None:
    assert LeaseHolder.parse(identity) == holder


@given(st.text())
def test_every_identity_is_parsed_to_what_writes_it(identity: str) -> None:
    assert str(LeaseHolder.parse(identity)) == identity


@pytest.mark.parametrize(
    ("holder", "pod", "gone"),
    [
        (LeaseHolder("pod", UID), None, True),
        (LeaseHolder("pod", UID), PodObservation(ANOTHER, "Running"), True),
        (LeaseHolder("pod", UID), PodObservation(UID, "Failed"), True),
        (LeaseHolder("pod", UID), PodObservation(UID, "Succeeded"), True),
        (LeaseHolder("pod", UID), PodObservation(UID, "Running"), False),
        (LeaseHolder("pod", UID), PodObservation(UID, "Unknown"), False),
        (LeaseHolder("pod", UID), PodObservation(UID, ""), False),
        (LeaseHolder("host"), None, False),
        (LeaseHolder("host"), PodObservation(ANOTHER, "Failed"), False),
    ],
)
def test_a_holder_is_gone_only_if_its_pod_certainly_does_not_run(
    holder: LeaseHolder, pod: PodObservation | None, *, gone: bool
) -> None:
    assert is_gone(holder, pod) is gone


@pytest.mark.parametrize("terms", [ALONE, SHARED])
def test_a_holder_can_miss_a_renewal_and_ends_before_another_may_begin(terms: LeaseTerms) -> None:
    assert 2 * RENEWAL_SECONDS < terms.deadline <= terms.duration - 5
    assert terms.duration + 2 * terms.poll + RENEWAL_SECONDS < (30 if terms is SHARED else 75)
    assert promised_seconds(terms.duration) == terms.duration


def test_several_replicas_share_a_shorter_lease() -> None:
    assert (lease_terms(1), lease_terms(2), lease_terms(5)) == (ALONE, SHARED, SHARED)


@given(st.one_of(st.integers(), st.text(), st.none(), st.floats(), st.booleans()))
def test_whatever_a_client_writes_a_lease_ends(written: object) -> None:
    assert SHARED.duration <= promised_seconds(written) <= ALONE.duration
