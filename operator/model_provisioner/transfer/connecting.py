"""The address guard where it matters: at the names that are resolved, and at the peer that was connected to.

`client` makes its connections with these. The rules are `domain.addresses`.
"""

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from typing_extensions import override

from model_provisioner.domain.addresses import NetworkPolicy, check_address
from model_provisioner.domain.errors import AddressNotAllowed


class GuardedConnector(aiohttp.TCPConnector):
    """Hands out no connection, new or used before, whose peer the policy does not allow for the host asked for.

    Whoever resolved the name, and however it was answered a moment before: what counts is where the socket leads,
    and it is looked at before the first byte of a request is sent.
    """

    def __init__(self, policy: NetworkPolicy, resolver: AbstractResolver, **settings: object) -> None:
        super().__init__(resolver=resolver, **settings)  # type: ignore[arg-type]
        self._policy = policy

    @override
    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:
        """Raises AddressNotAllowed beside what the connector raises."""
        connection = await super().connect(req, traces, timeout)
        try:
            check_address(_peer(connection), req.url.host or "", req.url.port or 0, self._policy)
        except BaseException:
            connection.close()
            raise
        return connection


class GuardedResolver(AbstractResolver):
    """Names to addresses that may be connected to, so that no packet is sent to any other.

    The connector connects to these and asks nobody else.
    """

    def __init__(self, policy: NetworkPolicy, resolver: AbstractResolver) -> None:
        self._policy = policy
        self._resolver = resolver

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises AddressNotAllowed where no address is allowed, OSError where there is none."""
        found = await self._resolver.resolve(host, port, family)
        allowed, refused = [], None
        for result in found:
            try:
                check_address(result["host"], host, port, self._policy)
                allowed.append(result)
            except AddressNotAllowed as error:
                refused = error
        if refused and not allowed:
            raise refused
        return allowed

    @override
    async def close(self) -> None:
        await self._resolver.close()


def _peer(connection: Connection) -> str:
    """Raises ClientConnectionError where the connection is lost already."""
    transport = connection.transport
    name = transport.get_extra_info("peername") if transport else None
    if not name:
        raise aiohttp.ClientConnectionError("lost before it was used")
    return str(name[0])
