"""Which hosts are connected to without the proxy: entries with the meaning that Go and curl give NO_PROXY."""

import pytest

from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.proxy import Proxy, parse_no_proxy

PROXY = Origin.of("http://proxy.example:3128")


def goes_through(url: str, no_proxy: str) -> bool:
    return Proxy(PROXY, no_proxy=parse_no_proxy(no_proxy)).serves(Origin.of(url))


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("", "https://hub.example", False),
        ("hub.example", "https://hub.example/x", True),
        ("hub.example", "https://HUB.example.:8443", True),
        ("HUB.Example.", "https://hub.example", True),
        ("hub.example", "https://cdn.us.hub.example", True),
        ("hub.example", "https://evilhub.example", False),
        ("hub.example", "https://hub.example.evil", False),
        (".example", "https://hub.example", True),
        (".example", "https://cdn.us.example", True),
        (".example", "https://example", False),
        ("*.example", "https://hub.example", True),
        ("*.example", "https://example", False),
        (".hub.example", "https://evilhub.example", False),
        ("*", "https://hub.example", True),
        ("*", "https://[2001:db8::1]", True),
        ("hub.example:8443", "https://hub.example:8443", True),
        ("hub.example:8443", "https://cdn.hub.example:8443", True),
        ("hub.example:8443", "https://hub.example", False),
        ("hub.example:443", "https://hub.example", True),
        (".example:80", "http://hub.example", True),
        (".example:80", "https://hub.example", False),
        ("*.example:443", "https://hub.example", True),
        ("localhost", "http://localhost:8080", True),
        ("10.1.2.3", "http://10.1.2.3:9000", True),
        ("10.1.2.3", "http://10.1.2.30", False),
        ("10.1.2.3", "http://[::ffff:10.1.2.3]", True),
        ("10.1.2.3:9000", "http://10.1.2.3:9000", True),
        ("10.1.2.3:9000", "http://10.1.2.3", False),
        ("10.0.0.0/8", "http://10.1.2.3:9000", True),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.0.0.0/8", "https://ten.example", False),
        ("10.1.2.3/8", "http://10.9.9.9", True),
        ("0.0.0.0/0", "http://[fd00::1]", False),
        ("fd00::/8", "http://[fd00::1]:9000", True),
        ("fd00::/8", "http://10.1.2.3", False),
        ("fd00::1", "http://[FD00:0::1]", True),
        ("[fd00::1]", "http://[fd00::1]:9000", True),
        ("[fd00::1]:9000", "http://[fd00::1]:9000", True),
        ("[fd00::1]:9000", "http://[fd00::1]", False),
        ("localhost,127.0.0.1,.svc,10.0.0.0/8", "http://minio.storage.svc:9000", True),
        (" localhost , .cluster.local\n", "http://minio.storage.svc.cluster.local", True),
    ],
)
def test_what_an_entry_covers(no_proxy: str, url: str, direct: bool) -> None:
    assert goes_through(url, no_proxy) is not direct


@pytest.mark.parametrize(
    "text",
    [
        "http://hub.example",
        "hub.example/x",
        "user@hub.example",
        "hub.example:0",
        "hub.example:https",
        "a.*.example",
        "**.example",
        "*hub.example",
        "*:443",
        "..example",
        ".",
        "*.",
        "10.0.0.*",
        "192.168.",
        ".0.0.1",
        "*.[::1]",
        ".[::1]",
        "10.0.0.0/33",
        "10.0.0.0/8:80",
        "[fd00::]/8",
        "[hub.example]",
        "bücher.example",
    ],
)
def test_what_is_no_entry(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not HOST, \.NAME, an IP address or a network"):
        parse_no_proxy(f"hub.example,{text}")


@pytest.mark.parametrize(
    "text",
    [
        "hub.example",
        "hub.example:8443",
        ".example",
        ".example:80",
        "*",
        "10.1.2.3:9000",
        "10.0.0.0/8",
        "fd00::/8",
        "[fd00::1]:9000",
    ],
)
def test_an_entry_prints_as_it_is_written(text: str) -> None:
    (entry,) = parse_no_proxy(text)
    assert str(entry) == text
    assert parse_no_proxy(str(entry)) == (entry,)


def test_other_spellings_print_as_the_usual_one() -> None:
    entries = parse_no_proxy("*.Example,10.1.2.3/8,10.1.2.3,[FD00::1]")
    assert [str(entry) for entry in entries] == [".example", "10.0.0.0/8", "10.1.2.3/32", "fd00::1/128"]
