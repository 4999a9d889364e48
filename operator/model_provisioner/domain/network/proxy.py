"""Decides which connections go through a proxy, and parses its URL into a value that never prints its credentials.

`proxy_file`, `settings.operator` and `transfer.cli.command` parse with this; `transfer.http.client` calls
`Proxy.serves` before each hop. Whether a host may be connected to at all is decided in `addresses`.
"""

from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import unquote, urlsplit

from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.network.addresses import Address, Network, Origin, parse_host_port

PROXY_NEEDS_HOSTS = (
    "a proxy hides which addresses are connected to, so say which hosts may be fetched from: "
    "--allow-host huggingface.co:443 --allow-host '*.hf.co:443' for the public hub"
)


@dataclass(frozen=True, slots=True)
class NoProxyEntry:
    """Hosts that are connected to without the proxy; `port` None means every port.

    `target` is a network, which covers hosts that are IP addresses, or a name. A name covers itself and all names below
    it; with a leading dot only those below it. `*` covers every host.
    """

    target: Network | str
    port: int | None = None

    def covers(self, origin: Origin) -> bool:
        """Names are not resolved: the addresses of a name differ between here and the proxy, and over time."""
        return self.port in {None, origin.port} and self._covers_host(origin.host)

    def _covers_host(self, host: str) -> bool:
        if not isinstance(self.target, str):
            return any(address in self.target for address in _addresses(host))
        if self.target.startswith("."):
            return host.endswith(self.target)
        return self.target == "*" or f".{host}".endswith(f".{self.target}")

    def __str__(self) -> str:
        if self.port is None:
            return str(self.target)
        host = self.target if isinstance(self.target, str) else self.target.network_address
        return f"[{host}]:{self.port}" if isinstance(host, IPv6Address) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxy to connect to at `origin`, and the user name and password that it gets, if any.

    Hosts in `no_proxy` are connected to directly.
    """

    origin: Origin
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    no_proxy: tuple[NoProxyEntry, ...] = ()

    def serves(self, origin: Origin) -> bool:
        """Whether connections to `origin` go through the proxy."""
        return not any(entry.covers(origin) for entry in self.no_proxy)


def parse_proxy(url: str) -> Proxy:
    """Parses `http://HOST:PORT` or `https://HOST:PORT`, with an optional `USER:PASSWORD@` before the host.

    Raises ValueError with a message for users, which never contains `url`.
    """
    try:
        parts = urlsplit(url)
        origin = Origin.of(url)
    except (AddressNotAllowed, ValueError):
        raise ValueError("the proxy's address is malformed: write http://HOST:PORT") from None
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError(f"the proxy's address has more than a host and a port: write {origin}")
    return Proxy(origin, _decoded(parts.username), _decoded(parts.password))


def parse_no_proxy(text: str) -> tuple[NoProxyEntry, ...]:
    """Parses a list as in NO_PROXY, separated by commas or white space.

    An entry is `HOST`, `.NAME`, `*.NAME`, `HOST:PORT`, an IP address, a network in CIDR notation, or `*`. The meaning
    is that of Go's golang.org/x/net/http/httpproxy. There, loopback hosts are always direct. In curl `.NAME` covers
    NAME too. Raises ValueError with a message for users.
    """
    return tuple(map(_entry, text.replace(",", " ").split()))


def _entry(text: str) -> NoProxyEntry:
    network = _network(text)
    if text == "*" or network is not None:
        return NoProxyEntry(network or text)
    name = text.removeprefix("*.") if text.startswith("*.") else text.removeprefix(".")
    below = name != text
    try:
        host = parse_host_port(name)
    except ValueError:
        raise _malformed(text) from None
    address = _network(host.host)
    if host.is_address and (below or address is None):
        raise _malformed(text)
    return NoProxyEntry(address or ("." if below else "") + host.host, host.port)


def _network(text: str) -> Network | None:
    """The network that `text` names. As in Go and curl, bits after the prefix are ignored."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _malformed(text: str) -> ValueError:
    return ValueError(
        f"{text[:200]!r} is not HOST, .NAME, an IP address or a network, "
        "such as hub.internal:8443, .internal or 10.0.0.0/8"
    )


def _addresses(host: str) -> tuple[Address, ...]:
    """The address that `host` is, and the IPv4 address that is mapped into it; none if `host` is a name."""
    try:
        address = ip_address(host)
    except ValueError:
        return ()
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (address,) if mapped is None else (address, mapped)


def _decoded(text: str | None) -> str | None:
    return None if text is None else unquote(text)
