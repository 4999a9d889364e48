"""The log of the hub: one entry for each request, from the moment it arrives.

Written by `origins` on the hub's event loop, read by tests from any thread. Tests get snapshots; the counters that
change stay in this module.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web

Origin = Literal["api", "content"]

_LOGGED_HEADERS = ("Host", "User-Agent", "Accept-Encoding", "If-Range", "If-None-Match", "Cookie", "Connection")


@dataclass(frozen=True)
class Request:
    """A snapshot of one request: `bytes_sent` and `status` of a running one are those so far."""

    time: float  # seconds since the epoch, when its headers had arrived
    origin: Origin
    method: str
    path: str  # decoded, without the query
    range: tuple[int, int] | None  # first and last byte served of a 206, both inclusive
    authorization: bool
    headers: Mapping[str, str]  # those that tests read; never a credential
    status: int  # 0 until answered
    bytes_sent: int  # body bytes handed to the socket


@dataclass
class Exchange:
    """The live counters of one request, owned by the hub's event loop."""

    origin: Origin
    method: str
    path: str
    authorization: bool
    headers: Mapping[str, str]
    time: float = field(default_factory=time.time)
    range: tuple[int, int] | None = None
    status: int = 0
    bytes_sent: int = 0
    running: bool = True

    def snapshot(self) -> Request:
        return Request(**{name: value for name, value in vars(self).items() if name != "running"})


def names_path(url_path: str, path: str | None) -> bool:
    """Whether `path` (a repository, or a file in it) occurs in `url_path` as whole segments; None means any."""
    return path is None or f"/{path.strip('/')}/" in f"{url_path}/"


class RequestLog:
    def __init__(self) -> None:
        self._exchanges: list[Exchange] = []
        self._content_running = 0
        self._high_water = 0

    def open(self, origin: Origin, request: web.Request) -> Exchange:
        headers = {name: request.headers[name] for name in _LOGGED_HEADERS if name in request.headers}
        exchange = Exchange(origin, request.method, request.path, "Authorization" in request.headers, headers)
        self._exchanges.append(exchange)
        if origin == "content":
            self._content_running += 1
            self._high_water = max(self._high_water, self._content_running)
        return exchange

    def close(self, exchange: Exchange) -> None:
        """Ends a request. Called before the last piece of a body is sent: a client that has read all finds it ended."""
        if exchange.running and exchange.origin == "content":
            self._content_running -= 1
        exchange.running = False

    def clear(self) -> None:
        """Removes all entries; requests that are still running count only for the new high-water mark."""
        self._exchanges = []
        self._high_water = self._content_running

    @property
    def requests(self) -> list[Request]:
        return [exchange.snapshot() for exchange in list(self._exchanges)]

    @property
    def content_running(self) -> int:
        return self._content_running

    @property
    def connections_high_water(self) -> int:
        return self._high_water

    def bytes_sent(self, path: str | None) -> int:
        return sum(r.bytes_sent for r in self.requests if r.origin == "content" and names_path(r.path, path))
