"""How a server says what it wants to be logged in with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.credentials.challenges import Challenge, challenges

HEADERS = {
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:ai/x:pull"': (
        Challenge(
            "bearer",
            {
                "realm": "https://auth.docker.io/token",
                "service": "registry.docker.io",
                "scope": "repository:ai/x:pull",
            },
        ),
    ),
    'Bearer realm="https://public.ecr.aws/token/",service="public.ecr.aws",scope="aws"': (
        Challenge("bearer", {"realm": "https://public.ecr.aws/token/", "service": "public.ecr.aws", "scope": "aws"}),
    ),
    'BASIC Realm = "a \\"b\\", c" , charset=UTF-8': (Challenge("basic", {"realm": 'a "b", c', "charset": "UTF-8"}),),
    'Negotiate, Bearer realm="r", Basic realm="b"': (
        Challenge("negotiate"),
        Challenge("bearer", {"realm": "r"}),
        Challenge("basic", {"realm": "b"}),
    ),
    'Bearer realm="first",realm="second"': (Challenge("bearer", {"realm": "first"}),),
    "Bearer": (Challenge("bearer"),),
    'Bearer realm="unfinished': (Challenge("bearer"),),
    'realm="of nothing"': (),
    "": (),
    "\x00": (),
}


@pytest.mark.parametrize(("header", "found"), HEADERS.items())
def test_challenges_are_read_as_they_are_written(header: str, found: tuple[Challenge, ...]) -> None:
    assert challenges(header) == found


@given(st.lists(st.sampled_from(["Bearer", "Basic", " ", ",", "=", '"', "\\", "realm", "x"]) | st.text()).map("".join))
def test_reading_is_total(header: str) -> None:
    for challenge in challenges(header):
        assert challenge.scheme == challenge.scheme.lower()
        assert all(value in header.replace("\\", "") or "\\" in header for value in challenge.parameters.values())


def test_a_long_header_is_read_to_a_limit() -> None:
    assert len(challenges("Basic, " * 100_000)) < 2000
