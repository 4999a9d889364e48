"""Which origins a token may be sent to."""

import pytest

from model_provisioner.domain.credentials.credentials import Credentials, RegistryLogin
from model_provisioner.domain.network.addresses import Origin

HUB = "https://hub.example"


@pytest.mark.parametrize(
    ("origin", "permitted"),
    [(HUB, True), ("https://hub.example:443", True), ("http://hub.example", False), ("https://hub.example:1", False)],
)
def test_scheme_host_and_port_must_match(origin: str, permitted: bool) -> None:
    assert Credentials("x", (f"{HUB}/path", "https://huggingface.co")).permits(Origin.of(origin)) is permitted


def test_a_login_at_a_registry_is_that_of_its_host_whatever_the_scheme() -> None:
    docker = RegistryLogin("https://docker.io", "me", "password-canary")
    other = RegistryLogin("https://r.example:5000", "", "", "identity-canary")
    found = Credentials(None, (), logins=(docker, other))
    assert found.login_at(Origin.of("https://docker.io")) == docker
    assert found.login_at(Origin.of("http://r.example:5000")) == other
    assert found.login_at(Origin.of("https://r.example")) is None
    assert (docker.basic, other.basic) == ("Basic bWU6cGFzc3dvcmQtY2FuYXJ5", None)
    basic = Credentials(None, (), username="me", password="password-canary", logins=(other,))
    assert basic.login_at(Origin.of("https://r.example:5000")) == RegistryLogin(
        "https://r.example:5000", "me", "password-canary"
    )
