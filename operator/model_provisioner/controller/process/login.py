"""Gives kopf its connection to the API server, with the identity of our own client.

Called by kopf, through `handlers`, whenever it needs credentials: at the start, when they expire, and after a 401.
Where the credentials come from is decided in `kube.client`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import kopf

from model_provisioner.kube.client import ApiError, KubeApi

_LIFETIME = timedelta(minutes=30)
_MIN_INTERVAL_SECONDS = 5.0


class Login:
    """Returns the connection of `api` as it is now.

    Each answer has another expiration time, because kopf never uses credentials again that equal refused ones. A call
    soon after the last one waits, so that a persistent 401 is no busy loop.
    """

    def __init__(
        self,
        api: KubeApi,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._monotonic = monotonic
        self._sleep = sleep
        self._called_at = float("-inf")

    async def __call__(self) -> kopf.ConnectionInfo:
        """Raises kopf.TemporaryError if the client has no usable credentials now."""
        if self._monotonic() - self._called_at < _MIN_INTERVAL_SECONDS:
            await self._sleep(_MIN_INTERVAL_SECONDS)
        self._called_at = self._monotonic()
        try:
            connection = await self._api.connection()
        except ApiError as error:
            raise kopf.TemporaryError(str(error), delay=_MIN_INTERVAL_SECONDS) from None
        return kopf.ConnectionInfo(
            server=connection.server,
            ca_path=connection.ca_file,
            certificate_path=connection.certificate_file,
            private_key_path=connection.key_file,
            token=connection.token,
            expiration=datetime.now(UTC) + _LIFETIME,
        )
