"""Tickets: an EventSource can send no header, so it sends a ticket in the address instead of a token.

A ticket opens event streams only, for an hour, as often as the EventSource reconnects. It has no token in it: it names
one that this process keeps, and is signed with a key of this process. Whether that token may watch is still for the API
server to decide, see `access`.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

LIFETIME_SECONDS = 3600
_MAX_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class Ticket:
    """The token of a valid ticket; `expires` is in seconds of the clock of `Tickets`."""

    token: str = field(repr=False)
    expires: float


class Tickets:
    """Issues and redeems tickets. They are lost when the process ends.

    `key` signs them; None makes a random one. `monotonic` is a clock in seconds.
    """

    def __init__(self, key: bytes | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._key = key or secrets.token_bytes(32)
        self._monotonic = monotonic
        self._tokens: dict[str, Ticket] = {}

    def issue(self, token: str) -> str:
        """A ticket for `token`, which the API server must have accepted. A token is kept once for all its tickets."""
        self._make_room()
        token_id, expires = self._sign(f"token {token}"), int(self._monotonic()) + LIFETIME_SECONDS
        self._tokens.pop(token_id, None)
        self._tokens[token_id] = Ticket(token, expires)
        return f"{expires}.{token_id}.{self._sign(f'ticket {expires}.{token_id}')}"

    def redeem(self, text: str) -> Ticket | None:
        """None if the ticket is forged or has expired."""
        expires, _, rest = text.partition(".")
        token_id, _, signature = rest.partition(".")
        genuine = hmac.compare_digest(signature.encode(), self._sign(f"ticket {expires}.{token_id}").encode())
        if not genuine or int(expires) <= self._monotonic() or token_id not in self._tokens:
            return None
        return Ticket(self._tokens[token_id].token, int(expires))

    def _sign(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def _make_room(self) -> None:
        """Expired tokens are at the front, because a token moves to the end with each new ticket."""
        while self._tokens:
            token_id, oldest = next(iter(self._tokens.items()))
            if oldest.expires > self._monotonic() and len(self._tokens) < _MAX_TOKENS:
                return
            del self._tokens[token_id]
