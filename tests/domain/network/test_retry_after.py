"""The pause that a server asks for in its headers."""

import pytest

from model_provisioner.domain.network.retry_after import retry_after

NOW = 1_445_412_420.0  # 2015-10-21T07:27:00Z
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
    ],
)
def test_what_is_asked(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds
