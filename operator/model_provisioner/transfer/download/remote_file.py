"""One remote file, from which ranges can be asked for by any number of connections.

Knows that a hub answers with a redirect to a signed, expiring address on a content host: it is
obtained once, shared, and obtained again near its end or when the content host refuses it. An answer
that does not bring exactly the bytes that were asked for is an error here and is never written.
"""

import asyncio

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.download.ranges import ByteRange
from model_provisioner.domain.errors import ProvisionError, RateLimited, SourceUnavailable
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.credentials import Credentials
from model_provisioner.domain.network.hub_errors import Question, hub_error
from model_provisioner.domain.network.retry_after import retry_after
from model_provisioner.domain.network.signed_urls import refresh_at
from model_provisioner.transfer.http.client import Client, Reply

_EXPIRED_STATUSES = frozenset({400, 401, 403, 404, 410})


class RangesNotSupported(Exception):
    """The source answers a request for a range with the whole file, and never answered with a range."""


class RepresentationChanged(Exception):
    """The source has other bytes than a moment ago: what came before must not be mixed with what comes now."""


class RemoteFile:
    """`url` is the address that can be asked again at any time, `size` in bytes, `subject` for messages."""

    def __init__(
        self, client: Client, url: str, size: int, subject: str, credentials: Credentials | None, clock: Clock
    ) -> None:
        self._client = client
        self._url = url
        self._size = size
        self.subject = subject
        self._credentials = credentials
        self._clock = clock
        self._content_url: str | None = None
        self._serves_ranges = False
        self._validators: dict[Origin, str] = {}
        self._refresh_at: float | None = None
        self._resolving = asyncio.Lock()

    async def get(self, wanted: ByteRange) -> Reply:
        """An answer whose body is `wanted`, to be closed by the caller.

        Raises RangesNotSupported, RepresentationChanged, what `Client.get` raises, and what `hub_error` returns.
        """
        reply = await self._send(wanted)
        try:
            self._check(reply, wanted)
        except BaseException:
            reply.close()
            raise
        return reply

    async def _send(self, wanted: ByteRange) -> Reply:
        headers = {"Range": wanted.header}
        url = self._cached_url()
        if url is not None:
            reply = await self._client.get(url, headers, self._credentials)
            if reply.status not in _EXPIRED_STATUSES:
                return reply
            reply.close()
            if self._content_url == url:
                self._content_url = None
        async with self._resolving:
            url = self._cached_url()
            if url is None:
                return await self._resolve(headers)
        return await self._client.get(url, headers, self._credentials)

    async def _resolve(self, headers: dict[str, str]) -> Reply:
        """Asks the source itself; the answer is already the first range from the address that it leads to."""
        reply = await self._client.get(self._url, headers, self._credentials)
        if reply.origin != Origin.of(self._url):
            self._content_url = reply.url
            self._refresh_at = refresh_at(reply.url, self._clock.wall())
        return reply

    def _cached_url(self) -> str | None:
        if self._refresh_at is not None and self._clock.wall() >= self._refresh_at:
            return None
        return self._content_url

    def _check(self, reply: Reply, wanted: ByteRange) -> None:
        encoding = reply.headers.get("Content-Encoding", "identity")
        length = reply.headers.get("Content-Length")
        if reply.status not in {200, 206}:
            raise self._status_error(reply)
        if encoding != "identity":
            raise SourceUnavailable(
                f"{reply.origin} sends {self.subject} encoded as {encoding[:20]!r}: a proxy's doing?"
            )
        if reply.status == 200 and (wanted.start > 0 or length != str(wanted.size)):
            raise self._range_ignored_error(reply)
        announced = reply.headers.get("Content-Range", "")
        if reply.status == 206 and not wanted.is_answered_by(announced, self._size):
            raise SourceUnavailable(
                f"{reply.origin} answered {announced[:60]!r} when asked for {wanted.header} of {self._size}: "
                f"{self.subject} has changed there, or a proxy interferes"
            )
        self._serves_ranges = reply.status == 206
        self._check_validator(reply)

    def _check_validator(self, reply: Reply) -> None:
        """Where a host gives strong entity tags (RFC 9110, 8.8.3), the ranges of one file must all have the same.

        Nothing can be said where it gives none, or to another host's: these have only their own in common.
        """
        tag = reply.headers.get("ETag", "")
        if not tag.startswith('"'):
            return
        if self._validators.setdefault(reply.origin, tag) != tag:
            self._validators.clear()
            raise RepresentationChanged

    def _range_ignored_error(self, reply: Reply) -> Exception:
        if not self._serves_ranges:
            return RangesNotSupported()
        return SourceUnavailable(
            f"{reply.origin} answered with the whole of {self.subject} when asked for a part, though it has served "
            "parts before: a proxy's doing?"
        )

    def _status_error(self, reply: Reply) -> ProvisionError:
        if reply.origin != Origin.of(self._url):
            return self._content_host_error(reply)
        asked = Question(self.subject, self._url.partition("/resolve/")[0], self._credentials is not None)
        return hub_error(reply.status, reply.headers, asked, self._clock.wall())

    def _content_host_error(self, reply: Reply) -> ProvisionError:
        """The hub leads to this host, so who leaves the hub alone leaves it alone."""
        wait = retry_after(reply.headers, self._clock.wall())
        if reply.status == 429:
            return RateLimited(f"the content host {reply.origin} limits how often it is asked (429)", wait)
        return SourceUnavailable(f"the content host {reply.origin} refused a new address ({reply.status})", wait)
