"""The login for a repository in a configuration of docker or podman: names, helpers, and what is no configuration."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.credentials.docker_config import as_configuration, find, helpers_answer
from model_provisioner.domain.credentials.secret_keys import DOCKER, read

HUB = "https://index.docker.io/v1/"


def entry(name: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{name}:secret".encode()).decode()}


def user(content: dict[str, object], registry: str, repository: str = "team/tiny") -> str | None:
    """The name of the login that is found."""
    found = find(json.dumps(content).encode(), registry, repository)
    if found.entry is None:
        return None
    (login,) = read({".dockerconfigjson": as_configuration(registry, found.entry)}, (DOCKER,)).logins
    assert login.password == "secret"
    return login.username


@pytest.mark.parametrize(
    ("name", "registry"),
    [
        ("r.example", "r.example"),
        ("r.example:5000", "r.example:5000"),
        ("https://r.example", "r.example"),
        ("https://r.example/v2/", "r.example"),
        ("http://r.example:5000/v1/", "r.example:5000"),
        (HUB, "docker.io"),
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("r.example/team", "r.example"),
        ("r.example/team/tiny/", "r.example"),
    ],
)
def test_a_registry_is_found_by_each_of_its_names(name: str, registry: str) -> None:
    assert user({"auths": {name: entry("reader"), "other.example": entry("other")}}, registry) == "reader"


@pytest.mark.parametrize(
    "name", ["r.example:443", "r.example.org", "a.r.example", "r.example/tea", "r.example/team/tiny2"]
)
def test_another_registry_or_directory_is_not(name: str) -> None:
    assert user({"auths": {name: entry("other")}}, "r.example") is None


def test_the_longest_name_counts() -> None:
    names = {name: entry(name.replace("/", "-")) for name in ("r.example", "r.example/team/tiny", "r.example/team")}
    assert user({"auths": names}, "r.example") == "r.example-team-tiny"
    assert user({"auths": names}, "r.example", "team/other") == "r.example-team"
    assert user({"auths": names}, "r.example", "other") == "r.example"


@pytest.mark.parametrize("empty", [{}, {"auth": ""}, {"email": "a@b"}, None])
def test_an_entry_without_a_login_is_none(empty: object) -> None:
    """Docker leaves such an entry for a login that a helper has."""
    assert user({"auths": {"r.example": empty}}, "r.example") is None


@pytest.mark.parametrize(
    ("content", "registry", "helper", "server"),
    [
        ({"credsStore": "desktop"}, "r.example", "desktop", "r.example"),
        ({"credsStore": "desktop"}, "docker.io", "desktop", HUB),
        ({"credsStore": "desktop", "credHelpers": {"r.example": "ecr-login"}}, "r.example", "ecr-login", "r.example"),
        ({"credHelpers": {"r.example": "ecr-login"}}, "other.example", None, "other.example"),
        ({"credHelpers": {"https://index.docker.io/v1/": "pass"}}, "docker.io", "pass", HUB),
        ({"credsStore": ""}, "r.example", None, "r.example"),
    ],
)
def test_a_helper_of_the_registry_goes_before_that_of_all(
    content: dict[str, object], registry: str, helper: str | None, server: str
) -> None:
    found = find(json.dumps(content).encode(), registry, "team/tiny")
    assert (found.helper, found.server) == (helper, server)


def test_a_helper_answers_with_a_password_or_an_identity_token() -> None:
    assert helpers_answer(b'{"ServerURL": "r", "Username": "u", "Secret": "s"}') == {"username": "u", "password": "s"}
    assert helpers_answer(b'{"Username": "<token>", "Secret": "s"}') == {"identitytoken": "s"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"auths": []}',
        b'{"auths": {"r.example": 1}}',
        b'{"credsStore": 1}',
    ],
    ids=lambda content: repr(content[:20]),
)
def test_what_is_no_configuration_is_told(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        find(content, "r.example", "team/tiny")


@pytest.mark.parametrize("content", [b"", b"{}", b'{"Username": 1, "Secret": "s"}', b'{"Username": "u", "Secret": ""}'])
def test_what_is_no_answer_of_a_helper_is_told(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        helpers_answer(content)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["auths", "credHelpers", "credsStore", "r.example", "auth"]), inner, max_size=4
            )
        ),
    )
)
def test_reading_is_total(document: object) -> None:
    try:
        found = find(json.dumps(document).encode(), "r.example", "team/tiny")
    except ValueError:
        return
    assert found.entry is None or found.entry
