"""The response timeout: its values, and the deadlines that follow from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.network.response_time import (
    DEFAULT_RESPONSE_SECONDS,
    no_answer,
    parse_response_timeout,
    resolve_call_seconds,
    resolve_seconds,
)


@pytest.mark.parametrize(("text", "seconds"), [("1", 1.0), ("90", 90.0), ("3600", 3600.0)])
def test_whole_seconds_up_to_an_hour_are_read(text: str, seconds: float) -> None:
    assert parse_response_timeout(text) == seconds


@pytest.mark.parametrize("text", ["0", "-1", "3601", "1.5", "90s", "", " 90", "\u0663", "9" * 5000])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a number of seconds from 1 to 3600") as caught:
        parse_response_timeout(text)
    assert len(str(caught.value)) < 100


@given(st.floats(1, 3600))
def test_each_deadline_ends_before_the_one_around_it(response_timeout: float) -> None:
    assert response_timeout < resolve_seconds(response_timeout) < resolve_call_seconds(response_timeout)


def test_the_error_says_who_was_silent_for_how_long_and_what_to_do() -> None:
    message = no_answer("https://mirror.example", DEFAULT_RESPONSE_SECONDS).message
    assert message.startswith("https://mirror.example did not begin to answer within 90 seconds: ")
    assert "--timeout" in message
