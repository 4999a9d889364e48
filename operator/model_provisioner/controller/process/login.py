"""Gives kopf its connection to the API server: the same identity as our own client's.

Called by kopf whenever it needs credentials: at the start, when they expire, and after a 401.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import kopf

from model_provisioner.kube.client import ApiError, KubeApi

_EXPIRES = timedelta(minutes=30)
_CALM_SECONDS = 5.0


class Login:
    """An expiration makes every answer unequal to the one before: kopf takes an equal one for invalid for ever.

    Asked again within moments, it waits, so that a persistent 401 is no hot loop.
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
        self._asked = float("-inf")

    async def __call__(self) -> kopf.ConnectionInfo:
        if self._monotonic() - self._asked < _CALM_SECONDS:
            await self._sleep(_CALM_SECONDS)
        self._asked = self._monotonic()
        try:
            own = await self._api.connection()
        except ApiError as error:
            raise kopf.TemporaryError(str(error), delay=_CALM_SECONDS) from None
        return kopf.ConnectionInfo(
            server=own.server,
            ca_path=own.ca_file,
            certificate_path=own.certificate_file,
            private_key_path=own.key_file,
            token=own.token,
            expiration=datetime.now(UTC) + _EXPIRES,
        )
