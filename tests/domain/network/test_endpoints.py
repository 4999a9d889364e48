"""Which hubs an object may name: the operator's own in any spelling, listed ones as a whole, and allowed hosts."""

import pytest

from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.network.addresses import parse_allowed_host
from model_provisioner.domain.network.endpoints import Endpoints, named_endpoints

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


def test_each_source_has_an_endpoint_of_its_own() -> None:
    found = Endpoints({"hf": OWN, "s3": "https://s3.example"})
    assert found.choose("s3", None) == "https://s3.example"
    with pytest.raises(AddressNotAllowed):
        found.choose("s3", OWN)


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        ([], {}),
        (["https://hub.example/"], {"hf": "https://hub.example"}),
        (["hf=https://hub.example", "s3=http://minio:9000/"], {"hf": "https://hub.example", "s3": "http://minio:9000"}),
        ([" s3=https://S3.example:443\n"], {"s3": "https://s3.example"}),
        (["https://hub.example/a=b"], {"hf": "https://hub.example/a=b"}),
    ],
)
def test_endpoints_are_named_by_their_scheme(texts: list[str], named: dict[str, str]) -> None:
    assert named_endpoints(texts, ("hf", "s3")) == named


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["oci=https://r.example"], "'oci' has no endpoint that can be set: write SCHEME=URL with hf, s3"),
        (["s3=minio:9000"], "no scheme"),
        (["s3=https://a", "s3=https://b"], "two endpoints for s3"),
        (["https://a", "hf=https://b"], "two endpoints for hf"),
        (["hf=https://canary@a"], "user name"),
    ],
)
def test_a_wrong_endpoint_is_told(texts: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        named_endpoints(texts, ("hf", "s3"))
    assert "canary" not in str(caught.value)
