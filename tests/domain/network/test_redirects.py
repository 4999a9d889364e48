"""The target of a redirect."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.errors import AddressNotAllowed, ProvisionError, SourceUnavailable
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.redirects import redirect_target

URL = "https://hub.test/owner/repo/resolve/main/x.gguf?download=true"


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/other/x.gguf", "https://hub.test/other/x.gguf"),
        ("y.gguf", "https://hub.test/owner/repo/resolve/main/y.gguf"),
        ("//cdn.test/x", "https://cdn.test/x"),
        ("https://cdn.test/x?Signature=a~b-c_d%2F|e", "https://cdn.test/x?Signature=a~b-c_d%2F|e"),
        ("/a b/\xc3\xa9.gguf", "https://hub.test/a%20b/%C3%A9.gguf"),
    ],
)
def test_a_location_is_relative_to_the_url(location: str, target: str) -> None:
    assert redirect_target(URL, location) == target


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("http://cdn.test/x", AddressNotAllowed),
        ("ftp://cdn.test/x", AddressNotAllowed),
        ("https://[::1/x", SourceUnavailable),
        ("https://]", SourceUnavailable),
        ("https://cdn.test:port/x", AddressNotAllowed),
        ("https://cdn\\.test/x", AddressNotAllowed),
        ("https://\xe9.test/x", AddressNotAllowed),
    ],
)
def test_a_location_that_is_no_allowed_url_is_a_named_error(location: str, error: type[ProvisionError]) -> None:
    with pytest.raises(error, match=r"hub\.test|address|scheme"):
        Origin.of(redirect_target(URL, location))


@given(st.text(st.characters(max_codepoint=255)) | st.text("/:[]@?#%.\\a1 ").map("https:{}".format))
def test_any_location_is_a_url_in_ascii_or_a_named_error(location: str) -> None:
    try:
        target = redirect_target(URL, location)
    except (SourceUnavailable, AddressNotAllowed):
        return
    assert target.isascii()
    assert target.isprintable()
    assert " " not in target
