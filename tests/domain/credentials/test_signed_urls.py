"""When a signed URL must be replaced."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.credentials.signed_urls import refresh_at

OBTAINED = 1_000_000.0


@pytest.mark.parametrize(
    ("query", "moment"),
    [
        ("Expires=1003600&Signature=x", 1_003_540),
        ("Expires=1000060&Signature=x", 1_000_030),
        ("Expires=999000", 999_500),
        ("X-Amz-Date=19700112T134640Z&X-Amz-Expires=3600", 1_003_540),
        ("X-Amz-Expires=3600", None),
        ("X-Amz-Date=today&X-Amz-Expires=3600", None),
        ("Expires=never", None),
        ("Signature=x", None),
        ("Expires=nan", None),
        ("Expires=inf", None),
        ("Expires=1_003_600", None),
        (f"Expires={'9' * 400}", None),
        ("X-Amz-Date=19700112T134640Z&X-Amz-Expires=-3600", None),
    ],
)
def test_a_minute_before_the_end_or_at_half_of_a_short_life(query: str, moment: float | None) -> None:
    assert refresh_at(f"https://content.test/file?{query}", OBTAINED) == moment


VALUES = st.text() | st.floats().map(str) | st.integers().map(str) | st.sampled_from(["19700112T134640Z", "0" * 400])


@given(st.dictionaries(st.sampled_from(["Expires", "X-Amz-Date", "X-Amz-Expires"]), VALUES), st.floats(0, 1e12))
def test_any_query_is_none_or_a_moment(query: dict[str, str], obtained: float) -> None:
    url = "https://content.test/file?" + "&".join(f"{name}={value}" for name, value in query.items())
    moment = refresh_at(url, obtained)
    assert moment is None or math.isfinite(moment)


@given(st.text())
def test_any_url_is_none_or_a_moment(url: str) -> None:
    assert refresh_at(f"https://[{url}?Expires=1003600", OBTAINED) in {None, 1_003_540}
