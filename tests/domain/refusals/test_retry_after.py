"""The pause that a server asks for in its headers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.refusals.retry_after import retry_after

NOW = 1_445_412_420.0  # 2015-10-21T07:27:00Z
MOST = 1e9
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "120"}, 120),
        ({"Retry-After": " 0 "}, 0),
        ({"Retry-After": DATE}, 60),
        ({"Retry-After": "Wed, 21 Oct 2015 07:26:00 GMT"}, 0),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "٣"}, None),
        ({"RateLimit": '"api";r=0;t=55'}, 55),
        ({"RateLimit": '"resolvers"; r=0; t=7', "Retry-After": "120"}, 7),
        ({"RateLimit": '"api";r=12;t=55'}, None),
        ({"RateLimit": '"api";r=12;t=55', "Retry-After": "3"}, 3),
        ({"RateLimit": "nonsense"}, None),
        ({"RateLimit": '"api";r=0;t=٣'}, None),
        ({"RateLimit": f'"api";r=0;t={"9" * 5000}'}, MOST),
        ({"Retry-After": "9" * 5000}, MOST),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, MOST),
        ({"Retry-After": f"Wed, 21 Oct 2015 07:28:00 +{'9' * 30}"}, None),
    ],
)
def test_what_is_asked(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


DATES = st.lists(
    st.sampled_from(
        ["Mon,", "21", "Oct", "2015", "07:28:00", "GMT", "+9999", "-99999999999", "9999", "0001", "x", "\0"]
    )
)


@given(st.text(), st.text() | DATES.map(" ".join) | st.integers().map(str), st.floats(0, 1e12))
def test_any_header_is_none_or_a_bounded_pause(limit: str, after: str, now: float) -> None:
    seconds = retry_after({"RateLimit": limit, "Retry-After": after}, now)
    assert seconds is None or 0 <= seconds <= MOST
