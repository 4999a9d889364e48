"""Which hubs an object may name: the operator's own in any spelling, listed ones as a whole, and allowed hosts."""

import pytest

from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.network.addresses import parse_allowed_host
from model_provisioner.domain.network.endpoints import Endpoints

OWN = "https://hub.example/hf"
ENDPOINTS = Endpoints(
    {"hf": OWN},
    ("https://mirror.example/a", "https://hub.example/listed"),
    tuple(map(parse_allowed_host, ("hub.example:443", "plain.example", "*.below.example:8443"))),
)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (None, OWN),
        (OWN, OWN),
        ("https://HUB.example:443/hf/", OWN),
        ("https://hub.example./hf", OWN),
        ("https://mirror.example/a/", "https://mirror.example/a"),
        ("https://hub.example/listed", "https://hub.example/listed"),
        ("https://plain.example/", "https://plain.example"),
        ("http://plain.example:8080", "http://plain.example:8080"),
        ("https://x.below.example:8443", "https://x.below.example:8443"),
    ],
)
def test_an_allowed_hub_in_its_normal_form(wanted: str | None, chosen: str) -> None:
    assert ENDPOINTS.choose("hf", wanted) == chosen


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ("https://hub.example", "https://hub.example is no hub.*allowedEndpoints"),
        ("https://hub.example/hf/evil", "https://hub.example/hf/evil is no hub.*allowedEndpoints"),
        ("https://hub.example/HF", "allowedEndpoints"),
        ("https://hub.example/x/../hf", "allowedEndpoints"),
        ("https://hub.example/%68f", "allowedEndpoints"),
        ("http://hub.example/hf", "allowedEndpoints"),
        ("https://mirror.example", "add mirror.example:443 to allowedHosts"),
        ("https://mirror.example/a/b", "allowedEndpoints"),
        ("https://mirror.example/ab", "allowedEndpoints"),
        ("https://plain.example/x", "https://plain.example/x is no hub.*allowedEndpoints"),
        ("https://below.example:8443", "add below.example:8443 to allowedHosts"),
        ("https://hub.example/hf?x=canary", "more than a host"),
        ("https://canary@hub.example/hf", "user name"),
        ("ftp://hub.example/hf", "scheme"),
    ],
)
def test_any_other_hub_is_refused(wanted: str, says: str) -> None:
    with pytest.raises(AddressNotAllowed, match=says) as refused:
        ENDPOINTS.choose("hf", wanted)
    assert "canary" not in refused.value.message
