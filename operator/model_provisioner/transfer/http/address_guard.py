"""The address guard: checks the resolved addresses of a host, and each socket before it connects.

Called by `client`; libcurl calls `Guard.open_socket`. The rules are in `domain.network.addresses`.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

import pycurl

from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.network.addresses import NetworkPolicy, Origin, check_address

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""A function of host and port; returns the IP addresses of the host. Raises OSError if there are none."""
_PeerAddress = tuple[int, int, int, tuple[str, int]]
"""Family, type, protocol and address of the socket that libcurl requests (CURLOPT_OPENSOCKETFUNCTION)."""


async def system_resolve(host: str, port: int) -> list[str]:
    """The addresses from the resolver of the system. Raises OSError if there are none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Guard:
    """Applies `policy` to the connections of one `origin`; `refusal` is the reason why a socket was not opened."""

    def __init__(self, policy: NetworkPolicy, origin: Origin) -> None:
        self._policy = policy
        self._origin = origin
        self.refusal: AddressNotAllowed | None = None

    def check_host(self) -> None:
        """Raises AddressNotAllowed if the host is an IP address to which no connection is allowed."""
        if _is_address(self._origin.host):
            self._check(self._origin.host)

    async def addresses(self, resolve: Resolve) -> list[str]:
        """The addresses of the host to which connections are allowed; no packet is sent to any other.

        Raises AddressNotAllowed if none of them is allowed, OSError if the host has no address.
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
        """Callback of libcurl. Checks the address that the socket will connect to, however the name was resolved.

        Returns SOCKET_BAD and sets `refusal` if the address is not allowed.
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
