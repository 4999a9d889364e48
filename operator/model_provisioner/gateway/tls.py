"""The gateway's own certificate: read from files, and read again when they change, because certificates are renewed."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 30.0


class Certificate:
    """`context` serves it. Raises OSError, ssl.SSLError for files that are none."""

    def __init__(self, chain: Path, key: Path, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._chain = chain
        self._key = key
        self._sleep = sleep
        self._seen = self._stamp()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain, key)

    async def keep_fresh(self) -> None:
        """Until cancelled. New connections get the new certificate; a wrong one is logged and the old one stays."""
        while True:
            await self._sleep(_LOOK_SECONDS)
            try:
                stamp = self._stamp()
                if stamp != self._seen:
                    self.context.load_cert_chain(self._chain, self._key)
                    self._seen = stamp
                    _LOG.info("the certificate %s was read anew", self._chain)
            except OSError as error:  # ssl.SSLError is one: halves of two pairs, while they are being replaced
                _LOG.warning("the certificate %s could not be read, the old one stays: %s", self._chain, error)

    def _stamp(self) -> tuple[int, int]:
        return self._chain.stat().st_mtime_ns, self._key.stat().st_mtime_ns
