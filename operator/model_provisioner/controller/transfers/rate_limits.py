"""Remembers which requests hosts have answered with 429 (Too Many Requests), for all workers together.

After one worker has got the answer, no request with the same credential goes to that host until the time in its
Retry-After. Otherwise every object of a long queue would send a request of its own first. A host limits an account, or
the address of requests without a credential. Therefore, the answer to one token says nothing about another token.
Called by `controller.transfers.resolve_client` and `controller.transfers.shared_transfer`.
"""

import hashlib
import secrets
import time
from collections.abc import Callable

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import ProvisionError, RateLimited
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.quantity import format_duration

_DEFAULT_SECONDS = 5.0
_MAX_SECONDS = 3600.0
_MAX_SHARED_SECONDS = 60.0  # all namespaces share the requests without a credential

_Key = tuple[Origin, bytes]


class RateLimits:
    """The limits of one operator, by origin and credential; `monotonic` is in seconds.

    `url` is any URL of the origin. `credentials` are those of the object; they count only if they may be sent to that
    origin. Of a token only a digest is kept, with a key that no other process has.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._digest_key = secrets.token_bytes(32)
        self._until: dict[_Key, float] = {}

    @property
    def size(self) -> int:
        """The number of pauses that are remembered."""
        return len(self._until)

    def check(self, url: str, credentials: Credentials | None) -> None:
        """Raises RateLimited if the Retry-After of the origin is not over, with the seconds that are left."""
        key = origin, account = self._key(url, credentials)
        left = self._until.get(key, 0.0) - self._monotonic()
        if left > 0:
            how = "with this token" if account else "without a token"
            message = f"{origin} has asked us to slow down: nothing is asked of it {how} for another"
            advice = "" if account else "; a token raises the limit"
            raise RateLimited(f"{message} {format_duration(left)}{advice}", left, wants_token=not account)

    def record(self, url: str, credentials: Credentials | None, error: ProvisionError) -> None:
        """Records `error`, an answer of the origin to a request with `credentials`, if it is RateLimited.

        Without a Retry-After the pause is five seconds. One of more than an hour counts as an hour; for requests
        without a credential, one of more than a minute counts as a minute.
        """
        if not isinstance(error, RateLimited):
            return
        now, key = self._monotonic(), self._key(url, credentials)
        longest = _MAX_SECONDS if key[1] else _MAX_SHARED_SECONDS
        seconds = _DEFAULT_SECONDS if error.retry_after is None else min(error.retry_after, longest)
        self._until = {known: until for known, until in self._until.items() if until > now}
        self._until[key] = max(self._until.get(key, 0.0), now + seconds)

    def _key(self, url: str, credentials: Credentials | None) -> _Key:
        """The origin, and a digest of the token that is sent to it; b"" if none is sent."""
        origin = Origin.of(url)
        if credentials is None or origin not in {Origin.of(allowed) for allowed in credentials.origins}:
            return origin, b""
        return origin, hashlib.blake2b("\n".join(credentials.secrets).encode(), key=self._digest_key).digest()
