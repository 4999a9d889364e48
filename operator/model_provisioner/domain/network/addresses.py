"""Decides which URLs and IP addresses we may connect to because of a ref, and which URLs share a credential.

Every HTTP client that follows a user's ref calls `check_url` before each hop, and `check_address` after name resolution
with the address it is about to connect to. So neither a redirect nor a rebinding DNS server leads to a service inside
the cluster. Name resolution and connections do not belong here.

The table is our own: the results of `ipaddress` differ between Python versions, and it calls the metadata services of
two clouds, multicast, 6to4 and NAT64 global. Source: the IANA special-purpose address registries (RFC 6890 and its
successors), RFC 6052 for NAT64, and the documentation of the clouds.
"""

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self
from urllib.parse import SplitResult, urlsplit

from model_provisioner.domain.errors import AddressNotAllowed

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_DEFAULT_PORTS = {"https": 443, "http": 80}
_NAME = r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63}){0,126}\.?"
_IPV6 = r"[0-9a-f:.]{2,45}"
_HOST = re.compile(f"{_NAME}|(?=.*:){_IPV6}")
_HOST_PORT = re.compile(rf"(?:({_NAME})|\[({_IPV6})\])(?::([0-9]{{1,5}}))?")
_NOT_IN_URLS = re.compile(r"[\x00-\x20\x7f\\]")


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host in lower case, and a port; None means every port.

    The host `*.example.com` covers every name below example.com, but not example.com itself.
    """

    host: str
    port: int | None = None

    @property
    def is_address(self) -> bool:
        """Whether the host is written like an IP address: no domain name ends in a number (RFC 3696, 2)."""
        return ":" in self.host or self.host.rpartition(".")[2].isdigit()

    def covers(self, host: str, port: int) -> bool:
        return self._covers_host(_normalized(host)) and self.port in {None, port}

    def _covers_host(self, host: str) -> bool:
        return host.endswith(self.host[1:]) if self.host.startswith("*.") else host == self.host

    def __str__(self) -> str:
        return _bracketed(self.host) + ("" if self.port is None else f":{self.port}")


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """What the administrator allows in addition to https to public addresses.

    A host in `allowed_hosts` may be reached over http and may have a private address. Its address must not be
    link-local, multicast, reserved, of a tunnel, or of a metadata service: only `allowed_networks` permits those.
    With `only_listed`, all other hosts are refused. A proxy needs this, because addresses behind it are not visible; it
    also holds for hosts that are connected to without the proxy, so that one list says what is reached.
    """

    allowed_networks: tuple[Network, ...] = ()
    allowed_hosts: tuple[HostPort, ...] = ()
    only_listed: bool = False

    @classmethod
    def only(cls, origin: "Origin") -> Self:
        """Allows this origin alone: on any host, also a private one, or at any address that is written out."""
        host = HostPort(origin.host, origin.port)
        return cls((ip_network(origin.host),) if host.is_address else (), (host,), only_listed=True)

    def lists(self, host: str, port: int) -> bool:
        return any(allowed.covers(host, port) for allowed in self.allowed_hosts)


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a URL (RFC 6454). Only equal origins may share a credential."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """Raises AddressNotAllowed if `url` is not a well-formed http or https URL."""
        parts = _split(url)
        return cls(parts.scheme, _normalized(parts.hostname or ""), parts.port or _DEFAULT_PORTS[parts.scheme])

    def __str__(self) -> str:
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{_bracketed(self.host)}{port}"


class _Opens(Enum):
    """What permits a connection to a special address."""

    HOST = "a listed host, or an allowed network that contains the address"
    NETWORK = "an allowed network that contains the address"
    EXACT = "an allowed network within this very row: 0.0.0.0/0 must not open the metadata service"


@dataclass(frozen=True, slots=True)
class _Special:
    network: Network
    description: str
    opens: _Opens


def _rows(opens: _Opens, description: str, *networks: str) -> tuple[_Special, ...]:
    return tuple(_Special(ip_network(network), description, opens) for network in networks)


_SPECIAL = (
    *_rows(
        _Opens.EXACT,
        "a cloud's metadata service",
        "169.254.169.254",
        "169.254.170.0/24",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::/32",
        "fd20:ce::254",
        "fd00:42::42",
        "fd00:a9fe:a9fe::1",
    ),
    *_rows(_Opens.EXACT, "link-local", "169.254.0.0/16", "fe80::/10"),
    *_rows(_Opens.HOST, "a loopback address", "127.0.0.0/8", "::1"),
    *_rows(_Opens.HOST, "private", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
    *_rows(_Opens.HOST, "shared address space, private to a network", "100.64.0.0/10"),
    *_rows(_Opens.NETWORK, "unspecified", "0.0.0.0/8", "::"),
    *_rows(_Opens.NETWORK, "multicast", "224.0.0.0/4", "ff00::/8"),
    *_rows(_Opens.NETWORK, "a tunnel's address", "2001::/32", "2002::/16", "64:ff9b:1::/48"),
    *_rows(
        _Opens.NETWORK,
        "reserved",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "240.0.0.0/4",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
        # All but 2000::/3, the only global unicast space that IANA has allocated.
        "::/3",
        "4000::/2",
        "8000::/1",
    ),
)  # The first row that contains an address applies.
_NAT64 = IPv6Network("64:ff9b::/96")


def check_url(url: str, policy: NetworkPolicy) -> None:
    """Raises AddressNotAllowed unless `policy` permits a request to `url`.

    The URL must be https, or http to a listed host, and must not contain a user name. With `only_listed`, https also
    needs a listed host.
    """
    origin = Origin.of(url)
    if "@" in _split(url).netloc:
        raise AddressNotAllowed(f"an address at {origin} holds a user name or password: use a Secret for credentials")
    listed = policy.lists(origin.host, origin.port)
    if policy.only_listed and not listed:
        raise AddressNotAllowed(
            f"{origin} is not listed, and with a proxy only listed hosts are reached: ask the administrator to add "
            f"{HostPort(origin.host, origin.port)} to allowedHosts (--allow-host)"
        )
    if origin.scheme == "http" and not listed:
        raise AddressNotAllowed(
            f"{origin} is not encrypted: use https, or ask the administrator to add "
            f"{HostPort(origin.host, origin.port)} to allowedHosts (--allow-host)"
        )


def check_address(address: str, host: str, port: int, policy: NetworkPolicy) -> None:
    """Raises AddressNotAllowed if `policy` does not permit `address`, to which `host` resolved; `port` is the one of
    the request."""
    outer = _parse_address(address, host)
    inner = _embedded_ipv4(outer)
    special = next((row for row in _SPECIAL if inner in row.network), None)
    if special is None or _allowed(inner, special, policy):
        return
    if special.opens is _Opens.HOST and policy.lists(host, port):
        return
    raise AddressNotAllowed(_refusal(outer, inner, special, HostPort(_normalized(host), port)))


def parse_host_port(text: str) -> HostPort:
    """Parses `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`. Raises ValueError with a message for users."""
    match = _HOST_PORT.fullmatch(text.lower())
    port = int(match[3]) if match and match[3] else None
    if not match or port == 0 or (port or 0) > 65535:
        raise ValueError(f"{text[:200]!r} is not HOST or HOST:PORT, such as hub.internal:8443")
    return HostPort(_normalized(match[1] or match[2]), port)


def parse_allowed_host(text: str) -> HostPort:
    """Like `parse_host_port`, and also `*.NAME` or `*.NAME:PORT` for all names below NAME. Raises ValueError."""
    if not text.startswith("*."):
        return parse_host_port(text)
    parent = parse_host_port(text[2:])
    if parent.is_address:
        raise ValueError(f"{text[:200]!r} is not *.NAME: an address has no names below it")
    return HostPort(f"*.{parent.host}", parent.port)


def parse_network(text: str) -> Network:
    """Parses a network in CIDR notation, or one address. Raises ValueError with a message for users."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text[:200]!r} is not a network such as 10.1.0.0/16 or fd12::/48: {error}") from None


def parse_endpoint(text: str) -> str:
    """The URL of a hub in its normal form, in which equal hubs have equal URLs.

    It has no white space around it and no slash at its end, the host is in lower case, and a default port is left out.
    The path stays as it is written: only the server knows which other spelling means the same.
    Raises ValueError with a message for users, which shows only scheme, host and port of `text`.
    """
    url = text.strip().rstrip("/")
    if ":/" not in url:
        raise ValueError("the address of the hub has no scheme: write https://HOST")
    try:
        origin = Origin.of(url)
    except AddressNotAllowed as error:
        raise ValueError(error.message) from None
    if "@" in urlsplit(url).netloc:
        raise ValueError(f"the address of the hub holds a user name or password: write {origin}, and give a token")
    if "?" in url or "#" in url:
        raise ValueError(f"the address of the hub has more than a host, a port and a path: write {origin}")
    return f"{origin}{urlsplit(url).path}"


def same_endpoint(one: str, other: str) -> bool:
    """Whether two texts are URLs of the same hub. A text that is no such URL is only equal to itself."""
    try:
        return parse_endpoint(one) == parse_endpoint(other)
    except ValueError:
        return one == other


def _split(url: str) -> SplitResult:
    """The parts of a well-formed http or https URL. Raises AddressNotAllowed otherwise.

    The URL may contain secrets, so a message shows only scheme and host.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise AddressNotAllowed("an address is malformed: write https://host/path") from None
    if _NOT_IN_URLS.search(url):
        raise AddressNotAllowed("an address holds spaces, control characters or backslashes: percent-encode them")
    if parts.scheme not in _DEFAULT_PORTS:
        raise AddressNotAllowed(f"{parts.scheme[:20]!r} is not a scheme that models are fetched with: use https")
    if not _HOST.fullmatch(host) or port == 0:
        # Names in other scripts are written in punycode. Other characters outside ASCII can imitate a known name.
        raise AddressNotAllowed("an address has no valid host and port: write https://host/path")
    return parts


def _parse_address(address: str, host: str) -> Address:
    try:
        return ip_address(address.partition("%")[0])
    except ValueError:
        raise AddressNotAllowed(f"{host} leads to {address[:100]!r}, which is not an IP address") from None


def _embedded_ipv4(address: Address) -> Address:
    """The IPv4 address that an IPv6 address is mapped or translated to; other addresses as they are."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _allowed(address: Address, special: _Special, policy: NetworkPolicy) -> bool:
    return any(
        address in network and (special.opens is not _Opens.EXACT or network.prefixlen >= special.network.prefixlen)
        for network in policy.allowed_networks
    )


def _refusal(outer: Address, inner: Address, special: _Special, asked: HostPort) -> str:
    shown = str(inner) if inner == outer else f"{outer} (that is {inner})"
    subject = f"{shown} is" if asked.host == str(outer) else f"{asked.host} resolves to {shown}, which is"
    listing = f", or {asked} to allowedHosts (--allow-host)" if special.opens is _Opens.HOST else ""
    return (
        f"{subject} {special.description}: ask the administrator to add "
        f"{inner}/{inner.max_prefixlen} to allowedNetworks (--allow-network){listing}"
    )


def _normalized(host: str) -> str:
    """DNS ignores case and one final dot."""
    return host.lower().removesuffix(".")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
