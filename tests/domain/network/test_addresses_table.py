"""The address rules compared with a second table: the IANA registries as published, and the documentation of clouds.

Nothing is taken from the module under test: the list, its order and the way to read it are different. An address is
allowed only if it is global unicast and in no row. If it contains an IPv4 address, that one is checked.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.network.addresses import NetworkPolicy, check_address, parse_host_port, parse_network

IPV4_SPECIAL = """
0.0.0.0/8           This network
10.0.0.0/8          Private-Use
100.64.0.0/10       Shared Address Space
127.0.0.0/8         Loopback
169.254.0.0/16      Link Local
172.16.0.0/12       Private-Use
192.0.0.0/24        IETF Protocol Assignments
192.0.2.0/24        Documentation (TEST-NET-1)
192.88.99.0/24      Deprecated (6to4 Relay Anycast)
192.168.0.0/16      Private-Use
198.18.0.0/15       Benchmarking
198.51.100.0/24     Documentation (TEST-NET-2)
203.0.113.0/24      Documentation (TEST-NET-3)
224.0.0.0/4         Multicast
240.0.0.0/4         Reserved
168.63.129.16/32    Azure: wire server
"""
IPV6_SPECIAL = """
::1/128             Loopback Address
::/128              Unspecified Address
::/96               Deprecated (IPv4-compatible)
::ffff:0:0:0/96     IPv4-translated (RFC 2765)
64:ff9b:1::/48      IPv4-IPv6 Translation, local use
100::/64            Discard-Only Address Block
100:0:0:1::/64      Dummy IPv6 Prefix
2001::/23           IETF Protocol Assignments
2001::/32           TEREDO
2001:2::/48         Benchmarking
2001:10::/28        Deprecated (previously ORCHID)
2001:db8::/32       Documentation
2002::/16           6to4
3fff::/20           Documentation
5f00::/16           Segment Routing (SRv6) SIDs
fc00::/7            Unique-Local
fe80::/10           Link-Local Unicast
fec0::/10           Deprecated (site-local)
ff00::/8            Multicast
"""
METADATA = """
169.254.169.254     AWS, Azure, Google, DigitalOcean, Hetzner, OpenStack
169.254.170.2       AWS: credentials of ECS tasks
169.254.170.23      AWS: credentials of EKS pods
169.254.169.252     GKE: metadata server of a node
169.254.0.23        Tencent
169.254.42.42       Scaleway
100.100.100.200     Alibaba
168.63.129.16       Azure: wire server
192.0.0.192         Oracle
fd00:ec2::254       AWS
fd00:ec2::23        AWS: credentials of EKS pods
fd20:ce::254        Google
fd00:42::42         Scaleway
fd00:a9fe:a9fe::1   Akamai
fe80::a9fe:a9fe     OpenStack
"""


def first_words(table: str) -> list[str]:
    return [line.split()[0] for line in table.strip().splitlines()]


ROWS = [ip_network(text) for text in first_words(IPV4_SPECIAL) + first_words(IPV6_SPECIAL)]
CLOUDS = first_words(METADATA)


def expected_open(address: IPv4Address | IPv6Address) -> bool:
    """Compares bytes, so that the result does not depend on what `ipaddress` knows about an address."""
    packed = address.packed
    carried = packed[:12] in {bytes(10) + b"\xff\xff", bytes.fromhex("0064ff9b") + bytes(8)}
    if len(packed) == 16 and carried:
        return expected_open(ip_address(socket.inet_ntoa(packed[12:])))
    if any(address in row for row in ROWS if row.version == address.version):
        return False
    return len(packed) == 4 or packed[0] >> 5 == 0b001


def is_open(address: IPv4Address | IPv6Address, policy: NetworkPolicy | None = None) -> bool:
    try:
        check_address(str(address), "hub.example", 443, policy or NetworkPolicy())
    except AddressNotAllowed:
        return False
    return True


def edges() -> list[IPv4Address | IPv6Address]:
    """The first and the last address of each row, and the addresses next to them outside the row."""
    found = []
    for row in ROWS:
        kind, most = (IPv4Address, 2**32) if row.version == 4 else (IPv6Address, 2**128)
        low, high = int(row.network_address), int(row.broadcast_address)
        found += [kind(value) for value in (low - 1, low, high, high + 1) if 0 <= value < most]
    return found


@pytest.mark.parametrize("address", edges(), ids=str)
def test_the_edges_of_every_row(address: IPv4Address | IPv6Address) -> None:
    assert is_open(address) is expected_open(address)


@pytest.mark.parametrize("text", CLOUDS)
def test_metadata_services_are_closed_even_to_whole_networks_and_listed_hosts(text: str) -> None:

    everything = tuple(map(parse_network, ("0.0.0.0/0", "::/0", "10.0.0.0/8", "100.64.0.0/10", "fc00::/7")))
    assert not is_open(ip_address(text), NetworkPolicy(everything, (parse_host_port("hub.example"),)))


IPV4 = st.integers(0, 2**32 - 1).map(IPv4Address) | st.sampled_from([row for row in ROWS if row.version == 4]).flatmap(
    lambda row: st.integers(int(row.network_address), int(row.broadcast_address)).map(IPv4Address)
)
IPV6 = st.integers(0, 2**128 - 1).map(IPv6Address) | st.sampled_from([row for row in ROWS if row.version == 6]).flatmap(
    lambda row: st.integers(int(row.network_address), int(row.broadcast_address)).map(IPv6Address)
)
PREFIXES = ("::ffff:0:0", "64:ff9b::", "64:ff9b:1::", "::", "::ffff:0:0:0", "2001:db8::")


@st.composite
def carriers(draw: st.DrawFn) -> IPv6Address:
    """IPv6 addresses that contain an IPv4 address: mapped, translated, 6to4, or Teredo (which inverts it)."""
    inner = int(draw(IPV4))
    sixtofour = IPv6Address((0x2002 << 112) | (inner << 80) | draw(st.integers(0, 2**80 - 1)))
    teredo = IPv6Address((0x20010000 << 96) | (draw(st.integers(0, 2**64 - 1)) << 32) | (inner ^ 0xFFFFFFFF))
    wrapped = [IPv6Address(int(IPv6Address(prefix)) + inner) for prefix in PREFIXES]
    return draw(st.sampled_from([*wrapped, sixtofour, teredo]))


@given(address=IPV4 | IPV6 | carriers())
@example(address=ip_address("64:ff9b::a9fe:a9fe"))
@example(address=ip_address("2002:a9fe:a9fe::"))
@settings(max_examples=2000, deadline=None)
def test_every_verdict_is_that_of_the_registries(address: IPv4Address | IPv6Address) -> None:
    assert is_open(address) is expected_open(address)
