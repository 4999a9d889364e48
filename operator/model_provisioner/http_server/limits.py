"""The limits of an HTTP server, and which connections are closed when one is exceeded. Pure; `server` applies it.

Behind an Ingress all clients have one address. Therefore an address has no limit of its own: while the server is full,
the address with the most connections that wait for a request loses the oldest of these. A connection whose request is
complete, such as an event stream, is never closed to make room.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

_SHARE = 16  # so many at a time, because the search for the address is linear


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds, sizes in bytes.

    `connections` counts all that are open, also those in a TLS handshake. A request must be complete up to its body
    within `head_seconds` after its first byte, or after the connection was opened; its body `body_seconds` later. A
    connection may be idle between two requests for `idle_seconds`. A response must be taken within `response_seconds`,
    except an event stream, which has its own deadline. One request has at most `head_bytes` up to its body and
    `request_bytes` in all; `behind_bytes` of further requests may follow it before its response. Unfinished requests
    have at most `unfinished_bytes` together.
    """

    connections: int
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0
    response_seconds: float = 60.0
    head_bytes: int = 32 * 1024
    request_bytes: int = 128 * 1024
    behind_bytes: int = 4 * 1024
    unfinished_bytes: int = 4 * 1024 * 1024


class Unfinished(Protocol):
    """A connection whose request is not complete: its client's address, since when, and the bytes received of it."""

    @property
    def address(self) -> str: ...

    @property
    def since(self) -> float: ...

    @property
    def received(self) -> int: ...

    def abort(self) -> None: ...


U = TypeVar("U", bound=Unfinished)


def excess(unfinished: Sequence[U]) -> Sequence[U]:
    """Those to close while the server has too many connections: the oldest of the address that has the most."""
    if not unfinished:
        return ()
    address, number = Counter(connection.address for connection in unfinished).most_common(1)[0]
    own = sorted((one for one in unfinished if one.address == address), key=lambda one: one.since)
    return own[: max(1, number // _SHARE)]


def largest(unfinished: Iterable[U], bytes_allowed: int) -> Sequence[U]:
    """Those to close so that the others have at most half of `bytes_allowed`; none while all have at most that."""
    by_size = sorted(unfinished, key=lambda one: one.received, reverse=True)
    total = sum(one.received for one in by_size)
    if total <= bytes_allowed:
        return ()
    closing: list[U] = []
    for one in by_size:
        if total <= bytes_allowed // 2:
            break
        total -= one.received
        closing.append(one)
    return closing
