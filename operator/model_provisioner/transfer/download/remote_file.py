"""One remote file, from which several connections request ranges.

Called by `connections`. A hub answers with a redirect to a signed URL of a content host, which expires. The URL is
resolved once and shared by all connections; it is resolved again near its expiry or when the content host refuses it.
A response that does not announce exactly the requested bytes raises an error, so that its bytes are never written.
How often a request is tried again belongs to `connections`.
"""

import asyncio

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.download.ranges import ByteRange
from model_provisioner.domain.errors import ProvisionError, RateLimited, SourceUnavailable
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.credentials import Credentials
from model_provisioner.domain.network.hub_errors import HubRequest, hub_error
from model_provisioner.domain.network.retry_after import retry_after
from model_provisioner.domain.network.signed_urls import refresh_at
from model_provisioner.transfer.http.client import Client, Reply

_EXPIRED_STATUSES = frozenset({400, 401, 403, 404, 410})


class RangesNotSupported(Exception):
    """The source answered a range request with the whole file (RFC 9110, 14.2), and none before with a range."""


class RepresentationChanged(Exception):
    """The entity tag changed during the download: bytes from before and after must not be mixed."""


class RemoteFile:
    """`url` is the one of the hub, which does not expire. `size` is in bytes, `subject` names the file in messages."""

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
        """A reply whose body is the range `wanted`. The caller closes it.

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
        """Requests the URL of the hub. After the redirect, the reply already brings the requested range."""
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
        """Raises RepresentationChanged if a host sends another strong entity tag (RFC 9110, 8.8.3) than before.

        Tags of different hosts are not compared. A reply without a strong tag is accepted.
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
        asked = HubRequest(self.subject, self._url.partition("/resolve/")[0], self._credentials is not None)
        return hub_error(reply.status, reply.headers, asked, self._clock.wall())

    def _content_host_error(self, reply: Reply) -> ProvisionError:
        """A limit of the content host counts as one of the hub, because every download of the hub leads to it."""
        wait = retry_after(reply.headers, self._clock.wall())
        if reply.status == 429:
            return RateLimited(f"the content host {reply.origin} limits how often it is asked (429)", wait)
        return SourceUnavailable(f"the content host {reply.origin} refused a new address ({reply.status})", wait)
