"""Tickets: what an EventSource puts into its address, because it can send no header.

A ticket opens event streams and nothing else, for an hour, however often the EventSource comes back. It
holds no token: it names one that this process remembers, and is signed with a key that only this process
has. Whether that token may watch is asked of the API server all the same.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

LIFETIME_SECONDS = 3600
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Ticket:
    """The token that a ticket stands for, and when it stops doing so on the clock of `Tickets`, in seconds."""

    token: str
    expires: float


class Tickets:
    """Issues tickets and takes them back. They die with the process."""

    def __init__(self, key: bytes | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._key = key or secrets.token_bytes(32)
        self._monotonic = monotonic
        self._remembered: dict[str, Ticket] = {}

    def issue(self, token: str) -> str:
        """A ticket for this token, which must have been found good. One token is remembered once."""
        self._forget()
        holder, expires = self._signature(f"token {token}"), int(self._monotonic()) + LIFETIME_SECONDS
        self._remembered.pop(holder, None)
        self._remembered[holder] = Ticket(token, expires)
        return f"{expires}.{holder}.{self._signature(f'ticket {expires}.{holder}')}"

    def redeem(self, text: str) -> Ticket | None:
        """None where it is forged, or its hour is over."""
        expires, _, rest = text.partition(".")
        holder, _, signature = rest.partition(".")
        genuine = hmac.compare_digest(signature.encode(), self._signature(f"ticket {expires}.{holder}").encode())
        if not genuine or int(expires) <= self._monotonic() or holder not in self._remembered:
            return None
        return Ticket(self._remembered[holder].token, int(expires))

    def _signature(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _forget(self) -> None:
        """What has expired is at the front, because whoever comes again goes to the end."""
        while self._remembered:
            holder, oldest = next(iter(self._remembered.items()))
            if oldest.expires > self._monotonic() and len(self._remembered) < _MOST_REMEMBERED:
                return
            del self._remembered[holder]
