"""Where a file is asked for, and to which address that leads for a while.

`remote_file` opens a place once for all connections, keeps the address that it led to, and opens the place again near
the expiry of that address or when its host refuses it. Two kinds: a URL that does not expire, which may redirect to one
that does, as a hub does; and an address that the source is asked for, because it has to be signed.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.credentials.signed_urls import refresh_at, refresh_before
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.file_address import Address
from model_provisioner.transfer.http.client import Client, Reply

Headers = Mapping[str, str]
OnRequest = Callable[[Origin], None]
_MAX_KEPT = 8
"""Of the addresses that a place was given: the reply to an earlier request may still show one that was replaced."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is requested until `refresh_at` (seconds since the epoch; None: until it is refused).

    `headers` and `credentials` are what may be sent to it: none if another host had a say in it.
    """

    url: str = field(repr=False)
    headers: Headers = field(default_factory=dict, repr=False)
    credentials: Credentials | None = None
    refresh_at: float | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """The answer to the first request; `home` is the origin that it was sent to. `target` is where it led to.

    None: there was no redirect, and the place itself is asked for every range.
    """

    reply: Reply
    home: Origin
    target: Target | None


class Place(Protocol):
    """`secrets` are what must not be shown if a server sends it back, besides the credentials of the job.

    `credentials` are those of the job, if requests are sent with them and not with what an address has.
    """

    credentials: Credentials | None

    @property
    def secrets(self) -> tuple[str, ...]: ...

    async def open(self, headers: Headers, on_request: OnRequest) -> Opened:
        """Requests the file there with `headers`. The caller closes the reply. Raises ProvisionError."""


class FixedPlace:
    """A URL that does not expire and is no secret. `credentials` are sent to their own origins only."""

    secrets: tuple[str, ...] = ()

    def __init__(self, client: Client, url: str, credentials: Credentials | None, clock: Clock) -> None:
        self._client = client
        self._url = url
        self.credentials = credentials
        self._clock = clock

    async def open(self, headers: Headers, on_request: OnRequest) -> Opened:
        """After a redirect, the reply already brings the requested range."""
        home = Origin.of(self._url)
        reply = await self._client.get(self._url, headers, self.credentials, on_request)
        if reply.origin == home:
            return Opened(reply, home, None)
        return Opened(reply, home, Target(reply.url, {}, reply.credentials, refresh_at(reply.url, self._clock.wall())))


class AskedPlace:
    """An address that `ask` tells, as the source knows it now. Its headers go to its own origin only."""

    credentials: Credentials | None = None

    def __init__(self, client: Client, ask: Callable[[], Awaitable[Address]], clock: Clock) -> None:
        self._client = client
        self._ask = ask
        self._clock = clock
        self._told: deque[Address] = deque(maxlen=_MAX_KEPT)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Those of the last addresses, also of the replaced ones, each once."""
        return tuple(dict.fromkeys(secret for address in reversed(self._told) for secret in address.secrets))

    async def open(self, headers: Headers, on_request: OnRequest) -> Opened:
        """Asks for an address first, whenever it is called."""
        address = await self._ask()
        self._told.append(address)
        obtained, home = self._clock.wall(), Origin.of(address.url)
        reply = await self._client.get(address.url, {**headers, **address.headers}, None, on_request)
        kept = address.headers if reply.origin == home else {}
        times = [refresh_at(reply.url, obtained)]
        times += [refresh_before(address.expires, obtained)] if address.expires is not None else []
        soonest = min((time for time in times if time is not None), default=None)
        return Opened(reply, home, Target(reply.url, kept, None, soonest))
