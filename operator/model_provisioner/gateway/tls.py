"""The gateway's certificate: read from files, and again after they change, because certificates are renewed.

`app` serves its `context` and runs `keep_fresh` as a task.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 30.0


class Certificate:
    """`chain` and `key` are PEM files. Raises OSError, or ssl.SSLError if they have no certificate and key."""

    def __init__(self, chain: Path, key: Path, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._chain = chain
        self._key = key
        self._sleep = sleep
        self._loaded = self._mtimes()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(chain, key)

    async def keep_fresh(self) -> None:
        """Runs until cancelled. New connections get the new certificate; an unreadable one is logged and not used."""
        while True:
            await self._sleep(_POLL_SECONDS)
            try:
                mtimes = self._mtimes()
                if mtimes != self._loaded:
                    self.context.load_cert_chain(self._chain, self._key)
                    self._loaded = mtimes
                    _LOG.info("the certificate %s was read anew", self._chain)
            except OSError as error:  # also ssl.SSLError: while the files are replaced, they may not fit each other
                _LOG.warning("the certificate %s could not be read, the old one stays: %s", self._chain, error)

    def _mtimes(self) -> tuple[int, int]:
        return self._chain.stat().st_mtime_ns, self._key.stat().st_mtime_ns
