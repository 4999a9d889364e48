"""What an answer 429 holds back: the same credential at the same origin, and nothing else."""

import pytest

from model_provisioner.controller.transfers.rate_limits import RateLimits
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import ProvisionError, RateLimited, SourceUnavailable

HUB = "https://hub.example/acme/m"
ORIGIN = "https://hub.example:443"


class Time:
    """A monotonic clock that the test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def token(text: str, *origins: str) -> Credentials:
    return Credentials(text, origins or (ORIGIN,))


def left(limits: RateLimits, credentials: Credentials | None, url: str = HUB) -> float:
    """The seconds for which a request is held back; 0 if it may be sent."""
    try:
        limits.check(url, credentials)
    except RateLimited as error:
        return error.retry_after or -1.0
    return 0.0


def test_a_refused_token_holds_back_only_itself() -> None:
    limits, time = RateLimits(clock := Time()), clock
    limits.record(HUB, token("mine"), RateLimited("slow down", 3600))
    assert left(limits, token("mine")) == 3600
    assert left(limits, token("other")) == 0
    assert left(limits, None) == 0
    assert left(limits, token("mine"), "https://mirror.example/acme/m") == 0
    time.now += 3600
    assert left(limits, token("mine")) == 0


def test_a_refusal_without_a_token_holds_back_requests_without_one_for_a_minute_at_most() -> None:
    limits = RateLimits(Time())
    limits.record(HUB, None, RateLimited("slow down", 3600))
    assert left(limits, None) == 60
    assert left(limits, token("mine")) == 0


def test_a_token_that_is_not_sent_to_the_origin_counts_as_none() -> None:
    limits = RateLimits(Time())
    limits.record(HUB, token("mine", "https://elsewhere.example:443"), RateLimited("slow down", 3600))
    assert left(limits, None) == 60
    assert left(limits, token("other", "https://elsewhere.example:443")) == 60
    assert left(limits, token("mine")) == 0


@pytest.mark.parametrize(("asked", "seconds"), [(None, 5), (10, 10), (7200, 3600)])
def test_the_pause_of_a_token(asked: float | None, seconds: float) -> None:
    limits = RateLimits(Time())
    limits.record(HUB, token("mine"), RateLimited("slow down", asked))
    assert left(limits, token("mine")) == seconds


@pytest.mark.parametrize("error", [SourceUnavailable("503", 3600), ProvisionError("other")])
def test_another_error_holds_back_nothing(error: ProvisionError) -> None:
    limits = RateLimits(Time())
    limits.record(HUB, None, error)
    assert left(limits, None) == 0


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    limits = RateLimits(Time())
    limits.record(HUB, token("mine"), RateLimited("slow down", 100))
    limits.record(HUB, token("mine"), RateLimited("slow down", 1))
    assert left(limits, token("mine")) == 100


def test_neither_the_state_nor_a_message_has_a_token_and_pauses_that_are_over_are_forgotten() -> None:
    limits, time = RateLimits(clock := Time()), clock
    for number in range(100):
        limits.record(HUB, token(f"secret-{number}"), RateLimited("slow down", 10))
    assert "secret" not in repr(vars(limits))
    with pytest.raises(RateLimited) as refused:
        limits.check(HUB, token("secret-1"))
    assert "secret" not in refused.value.message
    time.now += 11
    limits.record(HUB, None, RateLimited("slow down", 10))
    assert limits.size == 1
