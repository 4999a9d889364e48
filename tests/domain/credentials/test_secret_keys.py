"""Which keys of a Secret are a credential, and what it looks like in a request. No value is ever shown."""

import base64
import json

import pytest

from model_provisioner.domain.credentials.credentials import Credentials, RegistryLogin
from model_provisioner.domain.credentials.secret_keys import (
    AWS,
    BASIC,
    DOCKER,
    HEADERS,
    HF_TOKEN,
    QUERY,
    TOKEN,
    SecretKind,
    UnusableSecret,
    decoded,
    read,
)
from model_provisioner.domain.network.redaction import Redaction

WEB = (TOKEN, BASIC, HEADERS, QUERY)
CANARY = "canary-0123456789abcdef"


@pytest.mark.parametrize(
    ("data", "headers", "url"),
    [
        ({"token": "t"}, {"Authorization": "Bearer t"}, "https://h/x"),
        ({"token": "t\n"}, {"Authorization": "Bearer t"}, "https://h/x"),
        ({"username": "u", "password": "p: q"}, {"Authorization": "Basic dTpwOiBx"}, "https://h/x"),
        ({"header.X-JFrog-Art-Api": "k"}, {"X-JFrog-Art-Api": "k"}, "https://h/x"),
        ({"query": "?a=b&c=d"}, {}, "https://h/x?a=b&c=d"),
        (
            {"query": "a=b", "header.X-A": "k", "token": "t"},
            {"Authorization": "Bearer t", "X-A": "k"},
            "https://h/x?a=b",
        ),
    ],
)
def test_what_a_request_has(data: dict[str, str], headers: dict[str, str], url: str) -> None:
    found = read({key: value.encode() for key, value in data.items()}, WEB)
    assert found.request_headers == headers
    assert found.address("https://h/x") == url
    assert found.address("https://h/x?signed=1") == "https://h/x?signed=1"
    assert found.origins == ()


@pytest.mark.parametrize(
    ("data", "kinds", "says"),
    [
        ({}, WEB, "has none of the keys `token`, `username` and `password`, `header.<Name>`, `query`"),
        ({"HF_TOKEN": CANARY}, (TOKEN,), "has no key `token`: put"),
        ({"token": CANARY, "username": "u", "password": CANARY}, WEB, "only one can be sent"),
        ({"token": f"{CANARY}\nX: y"}, WEB, "not a token"),
        ({"token": f"{CANARY} y"}, WEB, "not a token"),
        ({"token": "x" * 4097}, WEB, "not a token"),
        ({"username": "a:b", "password": CANARY}, WEB, "colon in `username`"),
        ({"username": "a"}, WEB, "`password`"),
        ({"header.Range": CANARY}, WEB, "names no header that may be set"),
        ({"header.Host": CANARY}, WEB, "names no header"),
        ({"header.": CANARY}, WEB, "names no header"),
        ({"header.X y": CANARY}, WEB, "names no header"),
        ({"header.X": f"{CANARY}\r\nY: z"}, WEB, "not a token"),
        ({"query": f"{CANARY}#x"}, WEB, "is no query"),
        ({"query": "?"}, WEB, "is no query"),
        ({"AWS_ACCESS_KEY_ID": "a"}, (AWS,), "has no key AWS_SECRET_ACCESS_KEY"),
        ({"AWS_SECRET_ACCESS_KEY": CANARY}, (AWS,), "has no key AWS_ACCESS_KEY_ID"),
        ({".dockerconfigjson": CANARY}, (DOCKER,), "no configuration of docker"),
        ({".dockerconfigjson": "[]"}, (DOCKER,), "no configuration of docker"),
        ({".dockerconfigjson": '{"auths": {"h": {"auth": "§"}}}'}, (DOCKER,), "no configuration of docker"),
        ({".dockerconfigjson": '{"auths": {"h h": {}}}'}, (DOCKER,), "no configuration of docker"),
    ],
)
def test_what_is_no_credential_is_told_without_showing_it(
    data: dict[str, str], kinds: tuple[SecretKind, ...], says: str
) -> None:
    with pytest.raises(UnusableSecret) as caught:
        read({key: value.encode() for key, value in data.items()}, kinds)
    assert says in str(caught.value)
    assert CANARY not in str(caught.value)


def test_dockers_configuration_names_its_own_hosts() -> None:
    pair = base64.b64encode(f"me:{CANARY}".encode()).decode()
    content = json.dumps(
        {
            "auths": {
                "https://index.docker.io/v1/": {"auth": pair},
                "ghcr.io": {"username": "you", "password": "p"},
                "r.example:5000": {"identitytoken": "t"},
            }
        }
    )
    found = read({".dockerconfigjson": content.encode()}, (DOCKER, BASIC))
    assert found.logins == (
        RegistryLogin("https://docker.io", "me", CANARY),
        RegistryLogin("https://ghcr.io", "you", "p"),
        RegistryLogin("https://r.example:5000", "", "", "t"),
    )
    assert found.origins == ("https://docker.io", "https://ghcr.io", "https://r.example:5000")


def test_every_kind_of_secret_is_hidden_from_messages_and_reprs() -> None:
    everything = {
        "token": f"{CANARY}-1",
        "header.X": f"{CANARY}-2",
        "query": f"sp=r&sig={CANARY}-3",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": f"{CANARY}-4",
        "AWS_SESSION_TOKEN": f"{CANARY}-5",
        ".dockerconfigjson": json.dumps({"auths": {"h": {"username": "u", "password": f"{CANARY}-6"}}}),
    }
    found = read({key: value.encode() for key, value in everything.items()}, (TOKEN, HEADERS, QUERY, AWS, DOCKER))
    basic = read({"username": b"u", "password": f"{CANARY}-7".encode()}, (BASIC,))
    assert CANARY not in repr(found) + repr(basic)
    redaction = Redaction((*found.secrets, *basic.secrets))
    for number in range(1, 8):
        assert CANARY not in redaction.text(f"it said {CANARY}-{number}")
    assert redaction.text("the permission sp=r") == "the permission sp=r"


def test_a_hub_takes_two_names_for_its_token() -> None:
    for key in ("token", "HF_TOKEN"):
        assert read({key: b"hf_x"}, (HF_TOKEN,)) == Credentials("hf_x", ())


def test_a_value_that_is_not_base64_is_no_credential() -> None:
    with pytest.raises(UnusableSecret):
        read(decoded({"token": "§"}), (TOKEN,))
