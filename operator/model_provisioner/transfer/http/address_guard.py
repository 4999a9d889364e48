"""The address guard where it matters: at the names that are resolved, and at each socket before it is connected.

`client` and `exchange` make their connections with these. The rules are `domain.addresses`.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import pycurl

from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.network.addresses import NetworkPolicy, Origin, check_address

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host that is asked for at a port. Raises OSError where there are none."""
_PeerAddress = tuple[int, int, int, tuple[str, int]]
"""Family, type, protocol and address, as libcurl is about to connect."""


async def system_resolve(host: str, port: int) -> list[str]:
    """What the system's resolver says."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Guard:
    """What `policy` allows for one `origin`; `refusal` is why a socket was not opened."""

    def __init__(self, policy: NetworkPolicy, origin: Origin) -> None:
        self._policy = policy
        self._origin = origin
        self.refusal: AddressNotAllowed | None = None

    def check_host(self) -> None:
        """Raises AddressNotAllowed where the host is itself an address that may not be connected to."""
        if _is_address(self._origin.host):
            self._check(self._origin.host)

    async def addresses(self, resolve: Resolve) -> list[str]:
        """Those that may be connected to, so that no packet is sent to any other.

        Raises AddressNotAllowed where none of them may, OSError where there is none.
        """
        host = self._origin.host
        found = [host] if _is_address(host) else await resolve(host, self._origin.port)
        allowed, refused = [], None
        for address in found:
            try:
                self._check(address)
                allowed.append(address)
            except AddressNotAllowed as error:
                refused = error
        if refused and not allowed:
            raise refused
        return allowed

    def open_socket(self, _purpose: int, peer: _PeerAddress) -> socket.socket | int:
        """For libcurl. Whoever resolved the name, and whatever was answered a moment before: what counts is where
        the socket will lead, and it is judged before it is opened.
        """
        family, kind, protocol, address = peer
        try:
            self._check(address[0])
        except AddressNotAllowed as error:
            self.refusal = error
            return int(pycurl.SOCKET_BAD)
        return socket.socket(family, kind, protocol)

    def _check(self, address: str) -> None:
        check_address(address, self._origin.host, self._origin.port, self._policy)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
