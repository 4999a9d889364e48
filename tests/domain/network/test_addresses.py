"""The address rules: what is allowed by default, what an administrator can allow, and the messages."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.network.addresses import (
    HostPort,
    NetworkPolicy,
    Origin,
    check_address,
    check_url,
    parse_allowed_host,
    parse_endpoint,
    parse_host_port,
    parse_network,
)

NOTHING = NetworkPolicy()


def networks(*texts: str) -> NetworkPolicy:
    return NetworkPolicy(allowed_networks=tuple(parse_network(text) for text in texts))


def hosts(*texts: str) -> NetworkPolicy:
    return NetworkPolicy(allowed_hosts=tuple(parse_host_port(text) for text in texts))


def allows(address: str, policy: NetworkPolicy, host: str = "hub.internal", port: int = 443) -> bool:
    try:
        check_address(address, host, port, policy)
    except AddressNotAllowed:
        return False
    return True


PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "172.32.0.1",
    "100.128.0.1",
    "169.253.255.255",
    "2606:4700:4700::1111",
    "2a05:d018::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]
LISTED_HOST_OPENS = [
    "127.0.0.1",
    "127.255.255.254",
    "::1",
    "::ffff:127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "fc00::1",
    "fdab::1",
    "fec0::1",
    "::ffff:10.0.0.1",
    "64:ff9b::10.0.0.1",
]
CONTAINING_NETWORK_OPENS = [
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "ff02::1",
    "2001:db8::1",
    "3fff::1",
    "2001::1",
    "2001:0:a9fe:a9fe::1",
    "2002:a9fe:a9fe::1",
    "2002:808:808::1",
    "64:ff9b:1::a9fe:a9fe",
    "::8.8.8.8",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "100::1",
    "4000::1",
    "5f00::1",
    "fe00::1",
]
EXACT_NETWORK_OPENS = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.1.1",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
]
SPECIAL = LISTED_HOST_OPENS + CONTAINING_NETWORK_OPENS + EXACT_NETWORK_OPENS
EVERYTHING = networks("0.0.0.0/0", "::/0")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_need_nobodys_word(address: str) -> None:
    assert allows(address, NOTHING)


@pytest.mark.parametrize("address", SPECIAL)
def test_special_addresses_are_refused(address: str) -> None:
    assert not allows(address, NOTHING)
    assert not allows(address, hosts("other.internal", "hub.internal:8443"))
    assert not allows(address, networks("9.9.9.9", "2606::/16"))


@pytest.mark.parametrize("address", SPECIAL)
def test_a_listed_host_may_be_private_and_nothing_worse(address: str) -> None:
    expected = address in LISTED_HOST_OPENS
    assert allows(address, hosts("hub.internal")) is expected
    assert allows(address, hosts("hub.internal:443")) is expected


@pytest.mark.parametrize("address", SPECIAL)
def test_a_network_opens_what_it_contains_but_metadata_only_by_name(address: str) -> None:
    assert allows(address, EVERYTHING) is (address not in EXACT_NETWORK_OPENS)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.1.2.3/32"),
        ("::ffff:10.1.2.3", "10.0.0.0/8"),
        ("64:ff9b::10.1.2.3", "10.0.0.0/8"),
        ("169.254.169.254", "169.254.169.254/32"),
        ("::ffff:169.254.169.254", "169.254.169.254/32"),
        ("169.254.1.1", "169.254.0.0/16"),
        ("fd00:ec2::254", "fd00:ec2::/32"),
        ("fe80::1%eth0", "fe80::/10"),
        ("168.63.129.16", "168.63.129.16"),
        ("2002:a9fe:a9fe::1", "2002::/16"),
    ],
)
def test_the_network_that_opens_an_address(address: str, network: str) -> None:
    assert allows(address, networks(network))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("169.254.169.254", "169.254.0.0/16"),
        ("100.100.100.200", "100.64.0.0/10"),
        ("fd00:ec2::254", "fc00::/7"),
        ("::ffff:10.1.2.3", "::ffff:0:0/96"),
        ("64:ff9b::10.1.2.3", "64:ff9b::/96"),
    ],
)
def test_a_network_that_does_not_name_the_address(address: str, network: str) -> None:
    assert not allows(address, networks(network))


@given(value=st.integers(0, 2**32 - 1))
def test_wrapping_an_ipv4_address_never_opens_it(value: int) -> None:
    plain = allows(str(IPv4Address(value)), NOTHING)
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        assert allows(str(IPv6Address(prefix) + value), NOTHING) is plain
    for prefix in ("::", "64:ff9b:1::"):
        assert not allows(str(IPv6Address(prefix) + value), NOTHING)
    assert not allows(str(IPv6Address((0x2002 << 112) + (value << 80))), NOTHING)


@given(address=st.ip_addresses())
def test_nothing_passes_that_python_calls_private(address: IPv4Address | IPv6Address) -> None:
    mapped = address in IPv6Network("::ffff:0:0/96")
    assert address.is_global or mapped or not allows(str(address), NOTHING)


@pytest.mark.parametrize(
    ("address", "host", "message"),
    [
        (
            "10.1.2.3",
            "hub.internal",
            "hub.internal resolves to 10.1.2.3, which is private: ask the administrator to add 10.1.2.3/32 to "
            "allowedNetworks (--allow-network), or hub.internal:443 to allowedHosts (--allow-host)",
        ),
        (
            "::1",
            "::1",
            "::1 is a loopback address: ask the administrator to add ::1/128 to allowedNetworks (--allow-network), "
            "or [::1]:443 to allowedHosts (--allow-host)",
        ),
        (
            "::ffff:169.254.169.254",
            "hub.example",
            "hub.example resolves to ::ffff:a9fe:a9fe (that is 169.254.169.254), which is a cloud's metadata service: "
            "ask the administrator to add 169.254.169.254/32 to allowedNetworks (--allow-network)",
        ),
        ("no address", "hub.example", "hub.example leads to 'no address', which is not an IP address"),
    ],
)
def test_the_message_says_what_to_do(address: str, host: str, message: str) -> None:
    with pytest.raises(AddressNotAllowed) as refused:
        check_address(address, host, 443, NOTHING)
    assert refused.value.message == message


def test_what_the_message_asks_for_opens_the_address() -> None:
    for address in SPECIAL:
        with pytest.raises(AddressNotAllowed) as refused:
            check_address(address, "hub.internal", 443, NOTHING)
        asked = refused.value.message.split(" to add ")[1].split(" to allowedNetworks")[0]
        assert allows(address, networks(asked)), asked


@pytest.mark.parametrize(
    "url",
    [
        "https://huggingface.co/api/models/a/b",
        "HTTPS://HuggingFace.co",
        "https://cdn.example:8443/x?Signature=a%2Fb&Expires=1",
        "https://[2606:4700::1111]/x",
        "https://cdn_1.example./",
    ],
)
def test_https_is_allowed_anywhere(url: str) -> None:
    check_url(url, NOTHING)


@pytest.mark.parametrize(
    "policy", [hosts("hub.internal"), hosts("HUB.internal:80"), hosts("x:1", "hub.internal.:80")], ids=str
)
def test_http_is_allowed_to_a_listed_host(policy: NetworkPolicy) -> None:
    check_url("http://Hub.Internal/x", policy)
    check_url("http://hub.internal.:80/x", policy)


def test_where_only_listed_hosts_are_reached_https_needs_the_word_too() -> None:
    policy = NetworkPolicy(allowed_hosts=(parse_allowed_host("*.hf.example:443"),), only_listed=True)
    check_url("https://cdn.hf.example/x", policy)
    for url in (
        "https://hub.example/x",
        "https://cdn.hf.example:8443/x",
        "http://cdn.hf.example/x",
        "https://8.8.8.8/",
    ):
        with pytest.raises(AddressNotAllowed, match=r"with a proxy only listed.*add \S+:\d+ to allowedHosts"):
            check_url(url, policy)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://hub.internal/x", r"http://hub.internal is not encrypted.*hub.internal:80 to allowedHosts"),
        ("http://listed.internal:81/x", r"add listed.internal:81 to allowedHosts"),
        ("https://user:hunter2@hub.example/x", "user name or password"),
        ("https://@hub.example/x", "user name or password"),
        ("https://listed.internal:80@hub.example/x", "user name or password"),
        ("ftp://hub.example/x", "'ftp' is not a scheme"),
        ("file:///etc/passwd", "'file' is not a scheme"),
        ("hub.example/x", "'' is not a scheme"),
        ("//hub.example/x", "'' is not a scheme"),
        ("https:///x", "no valid host"),
        ("https://", "no valid host"),
        ("https://:443/x", "no valid host"),
        ("https://hub.example:0/x", "no valid host"),
        ("https://hub.example:65536/x", "malformed"),
        ("https://hub.example:http/x", "malformed"),
        ("https://[::1/x", "malformed"),
        ("https://[fe80::1%25eth0]/x", "no valid host"),
        ("https://hub..example/x", "no valid host"),
        ("https://bücher.example/x", "no valid host"),
        ("https://hub。example/x", "no valid host|malformed"),
        ("https://hub.example\\@evil.example/x", "backslashes"),
        ("https://hub.example/\r\nHost: evil", "control characters"),
        ("https://hub.example/a b", "spaces"),
        (" https://hub.example/x", "spaces"),
        ("ht\ttps://hub.example/x", "control characters"),
        ("", "'' is not a scheme"),
    ],
)
def test_urls_that_are_refused(url: str, says: str) -> None:
    with pytest.raises(AddressNotAllowed, match=says) as refused:
        check_url(url, hosts("listed.internal:80"))
    assert "hunter2" not in refused.value.message


@given(url=st.text() | st.text().map(lambda text: f"https://{text}"))
def test_any_text_is_judged_or_refused(url: str) -> None:
    try:
        check_url(url, NOTHING)
    except AddressNotAllowed:
        return
    assert Origin.of(url).scheme == "https"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://hub.example/a", "https://HUB.example:443/b?c", True),
        ("https://hub.example", "https://hub.example.", True),
        ("http://hub.example", "http://hub.example:80", True),
        ("https://hub.example", "http://hub.example", False),
        ("https://hub.example", "https://hub.example:8443", False),
        ("https://hub.example", "https://cdn.hub.example", False),
        ("https://hub.example", "https://hub.example@evil.example", False),
    ],
)
def test_origins(one: str, other: str, same: bool) -> None:
    assert (Origin.of(one) == Origin.of(other)) is same


def test_an_origin_prints_as_a_url() -> None:
    assert str(Origin.of("HTTPS://Hub.Example:443/x")) == "https://hub.example"
    assert str(Origin.of("https://[::1]:8443/x")) == "https://[::1]:8443"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hub.internal", HostPort("hub.internal")),
        ("Hub.Internal.:8443", HostPort("hub.internal", 8443)),
        ("10.1.2.3:80", HostPort("10.1.2.3", 80)),
        ("[::1]", HostPort("::1")),
        ("[FD00::1]:443", HostPort("fd00::1", 443)),
        ("localhost:1", HostPort("localhost", 1)),
    ],
)
def test_parse_host_port(text: str, expected: HostPort) -> None:
    assert parse_host_port(text) == expected
    assert parse_host_port(str(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":443",
        "hub:",
        "hub:0",
        "hub:65536",
        "hub:http",
        "::1",
        "a b",
        "hub/x",
        "https://hub",
        "*.hub",
        "u@hub",
        "[hub]",
    ],
)
def test_parse_host_port_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST or HOST:PORT"):
        parse_host_port(text)


@pytest.mark.parametrize(
    ("text", "host", "port", "covered"),
    [
        ("*.hf.example", "cdn.hf.example", 443, True),
        ("*.hf.example", "CDN.us.HF.example.", 8443, True),
        ("*.hf.example:443", "cdn.hf.example", 8443, False),
        ("*.hf.example", "hf.example", 443, False),
        ("*.hf.example", "evilhf.example", 443, False),
        ("*.hf.example", "cdn.hf.example.evil", 443, False),
        ("hf.example", "cdn.hf.example", 443, False),
    ],
)
def test_names_below_a_listed_one(text: str, host: str, port: int, covered: bool) -> None:
    allowed = parse_allowed_host(text)
    assert allowed.covers(host, port) is covered
    assert parse_allowed_host(str(allowed)) == allowed


@pytest.mark.parametrize(
    "text", ["*", "*.", "*.*.example", "a.*.example", "*.0.0.1", "*.[::1]", "*.10.1:443", "*x.example"]
)
def test_parse_allowed_host_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not HOST or HOST:PORT|is not \*\.NAME"):
        parse_allowed_host(text)


def test_parse_network() -> None:
    assert parse_network("10.1.0.0/16") == ip_network("10.1.0.0/16")
    assert parse_network("fd12::1") == ip_network("fd12::1/128")


@pytest.mark.parametrize(
    ("text", "says"),
    [("10.1.2.3/16", "host bits"), ("hub.internal", "such as"), ("", "such as"), ("10.0.0.0/33", "such as")],
)
def test_parse_network_refuses(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_network(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://hub.example", "https://hub.example"),
        ("https://hub.example/", "https://hub.example"),
        (" https://hub.example//\n", "https://hub.example"),
        ("http://127.0.0.1:8080/api/hub/", "http://127.0.0.1:8080/api/hub"),
        ("HTTPS://Hub.Example:443/Path", "https://hub.example/Path"),
        ("http://[::1]:80/x", "http://[::1]/x"),
    ],
)
def test_parse_endpoint(text: str, expected: str) -> None:
    assert parse_endpoint(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no scheme: write https://HOST"),
        ("hub.example", "has no scheme: write https://HOST"),
        ("hub.example:8443", "has no scheme: write https://HOST"),
        ("ftp://hub.example", "'ftp' is not a scheme"),
        ("https://", "no scheme"),
        ("https://:443", "no valid host"),
        ("https://hub example", "spaces"),
        ("https://hub.example:99999", "malformed"),
        ("https://user:canary@hub.example/x", "write https://hub.example, and give a token"),
        ("https://hub.example/x?token=canary", "more than a host, a port and a path: write https://hub.example"),
        ("https://hub.example/x#canary", "more than a host, a port and a path: write https://hub.example"),
    ],
)
def test_parse_endpoint_refuses(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        parse_endpoint(text)
    assert "canary" not in str(refused.value)
