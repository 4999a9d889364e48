"""One remote file, from which several connections request ranges.

Called by `connections`. A hub answers with a redirect to a signed URL of a content host, which expires. The URL is
resolved once and shared by all connections; it is resolved again near its expiry or when the content host refuses it.
Which bytes an answer has is decided in `domain.download.range_answer`; those of any other answer are never written. How
often a request is tried again belongs to `connections`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.download.range_answer import (
    AnswerHeader,
    Body,
    RequestedFile,
    Unlabelled,
    WrongAnswer,
    judge,
)
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
    """The source sends the whole file, or does not say which part it sends, and has never sent a labelled part."""


class RepresentationChanged(Exception):
    """A validator changed during the download of a file without a digest: bytes of two versions must not be mixed."""


@dataclass(frozen=True, slots=True)
class RangeReply:
    """A reply whose body has the requested range after `skip` other bytes.

    `open_ended`: the header does not announce the size of the body, so its end must be read too.
    """

    reply: Reply
    skip: int
    open_ended: bool


@dataclass(frozen=True, slots=True)
class _Address:
    """A URL to which the hub redirects, and what may be sent to it: None if another host had a say in it."""

    url: str
    credentials: Credentials | None


class RemoteFile:
    """`url` is the one of the hub, which does not expire. `file` says what the plan knows; `subject` names the file in
    messages."""

    def __init__(
        self,
        client: Client,
        url: str,
        file: RequestedFile,
        subject: str,
        credentials: Credentials | None,
        clock: Clock,
    ) -> None:
        self._client = client
        self._url = url
        self._file = file
        self.subject = subject
        self._credentials = credentials
        self._clock = clock
        self._content: _Address | None = None
        self._serves_ranges = False
        self._sends_unlabelled = False
        self._validators: dict[tuple[Origin, str], str] = {}
        self._refresh_at: float | None = None
        self._resolving = asyncio.Lock()

    @property
    def response_timeout(self) -> float:
        """How many seconds the source may take until its answer begins."""
        return self._client.response_timeout

    async def get(self, wanted: ByteRange, *, allow_whole: bool, on_request: Callable[[Origin], None]) -> RangeReply:
        """A reply with the range `wanted`. The caller closes it. `on_request` is that of `Client.get`.

        `allow_whole`: the reply may have the whole file; then `wanted` reaches to the end of the file. Without it,
        such a reply raises RangesNotSupported. Raises RepresentationChanged, what `Client.get` raises, and what
        `hub_error` returns.
        """
        asked = self._file.whole if allow_whole and self._sends_unlabelled else wanted
        reply = await self._send(asked, on_request)
        try:
            body = self._body(reply, asked, allow_whole=allow_whole)
            self._check_validator(reply)
        except BaseException:
            reply.close()
            raise
        return RangeReply(reply, wanted.start - body.range.start, body.open_ended)

    async def _send(self, wanted: ByteRange, on_request: Callable[[Origin], None]) -> Reply:
        headers = {"Range": wanted.header}
        cached = self._cached()
        if cached is not None:
            reply = await self._client.get(cached.url, headers, cached.credentials, on_request)
            if reply.status not in _EXPIRED_STATUSES:
                return reply
            reply.close()
            if self._content == cached:
                self._content = None
        async with self._resolving:
            cached = self._cached()
            if cached is None:
                return await self._resolve(headers, on_request)
        return await self._client.get(cached.url, headers, cached.credentials, on_request)

    async def _resolve(self, headers: dict[str, str], on_request: Callable[[Origin], None]) -> Reply:
        """Requests the URL of the hub. After the redirect, the reply already brings the requested range."""
        reply = await self._client.get(self._url, headers, self._credentials, on_request)
        if reply.origin != Origin.of(self._url):
            self._content = _Address(reply.url, reply.credentials)
            self._refresh_at = refresh_at(reply.url, self._clock.wall())
        return reply

    def _cached(self) -> _Address | None:
        if self._refresh_at is not None and self._clock.wall() >= self._refresh_at:
            return None
        return self._content

    def _body(self, reply: Reply, asked: ByteRange, *, allow_whole: bool) -> Body:
        """What the body has. Raises the error if it is neither `asked` nor, with `allow_whole`, the whole file."""
        if reply.status not in {200, 206}:
            raise self._status_error(reply)
        encoding = reply.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise SourceUnavailable(
                f"{reply.origin} sends {self.subject} encoded as {encoding[:20]!r}: a proxy's doing?"
            )
        body = judge(_header(reply.status, reply.headers), asked, self._file)
        if isinstance(body, WrongAnswer):
            raise SourceUnavailable(f"{reply.origin}, asked for {self.subject}, {body.problem}")
        if isinstance(body, Unlabelled) or not (body.range == asked or allow_whole):
            raise self._range_ignored_error(reply, body)
        self._serves_ranges = self._serves_ranges or body.range != self._file.whole
        return body

    def _check_validator(self, reply: Reply) -> None:
        """Raises RepresentationChanged if a host sends another validator than before (RFC 9110, 8.8).

        The validator is the strong entity tag, else the time of the last change. Those of different hosts are not
        compared. A file with a known digest needs none: the edges of one host may give the same bytes different
        validators, and the digest decides at the end.
        """
        if self._file.digest_known:
            return
        tag = reply.headers.get("ETag", "")
        name = "ETag" if tag.startswith('"') else "Last-Modified"
        value = reply.headers.get(name)
        if value is not None and self._validators.setdefault((reply.origin, name), value) != value:
            self._validators.clear()
            raise RepresentationChanged

    def _range_ignored_error(self, reply: Reply, body: Body | Unlabelled) -> Exception:
        if not self._serves_ranges:
            self._sends_unlabelled = self._sends_unlabelled or isinstance(body, Unlabelled)
            return RangesNotSupported()
        return SourceUnavailable(
            f"{reply.origin} answered with the whole of {self.subject}, or with a part that has no label, though it "
            "has served labelled parts before: a proxy's doing?"
        )

    def _status_error(self, reply: Reply) -> ProvisionError:
        if reply.origin != Origin.of(self._url):
            return self._content_host_error(reply)
        permitted = self._credentials is not None and self._credentials.permits(reply.origin)
        sent = reply.credentials is not None
        asked = HubRequest(self.subject, self._url.partition("/resolve/")[0], sent, withheld=permitted and not sent)
        return hub_error(reply.status, reply.headers, asked, self._clock.wall())

    def _content_host_error(self, reply: Reply) -> ProvisionError:
        """A limit of the content host counts as one of the hub, because every download of the hub leads to it."""
        wait = retry_after(reply.headers, self._clock.wall())
        if reply.status == 429:
            return RateLimited(f"the content host {reply.origin} limits how often it is asked (429)", wait)
        return SourceUnavailable(f"the content host {reply.origin} refused a new address ({reply.status})", wait)


def _header(status: int, headers: Mapping[str, str]) -> AnswerHeader:
    names = ("Content-Range", "Content-Length", "Transfer-Encoding", "Content-Type")
    return AnswerHeader(status, *(headers.get(name, "") for name in names))
