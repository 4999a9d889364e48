"""One remote file, from which several connections request ranges.

Called by `connections`. The bytes are often at an address that expires: `place` leads to it. The address is found once
and shared by all connections; it is found again near its expiry or when its host refuses it.
Which bytes an answer has is decided in `domain.download.range_answer`; those of any other answer are never written. How
often a request is tried again belongs to `connections`.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.download.range_answer import (
    Body,
    RequestedFile,
    Unlabelled,
    WrongAnswer,
    judge,
)
from model_provisioner.domain.download.ranges import ByteRange
from model_provisioner.domain.errors import ProvisionError, RateLimited, SourceUnavailable
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.refusals.http_errors import http_error
from model_provisioner.domain.refusals.hub_errors import HubRequest, hub_error
from model_provisioner.domain.refusals.retry_after import retry_after
from model_provisioner.domain.refusals.s3_errors import range_error
from model_provisioner.domain.store.plan import Pin
from model_provisioner.transfer.clients.bodies import answer_header, check_not_encoded
from model_provisioner.transfer.download.requests.place import Place, Target
from model_provisioner.transfer.http.client import Client, Reply

_EXPIRED_STATUSES = frozenset({400, 401, 403, 404, 410})
Explain = Callable[[int, Mapping[str, str], HubRequest, float], ProvisionError]
_EXPLAIN: Mapping[str, Explain] = MappingProxyType({"hf": hub_error, "s3": range_error})
"""What a refusal means, by the scheme of the source; of any other one, what `http_error` says."""


class RangesNotSupported(Exception):
    """The source sends the whole file, or does not say which part it sends, and has never sent a labelled part."""


class RepresentationChanged(Exception):
    """A validator changed during the download of a file without a digest: bytes of two versions must not be mixed."""


@dataclass(frozen=True, slots=True)
class RangeReply:
    """A reply whose body has the requested range after `skip` other bytes.

    `open_ended`: the header does not announce the size of the body, so its end must be read too. `continues`: the body
    goes on after the range, with what an archive has after the file.
    """

    reply: Reply
    skip: int
    open_ended: bool
    continues: bool = False


class RemoteFile:
    """`place` is where the file is asked for. `subject` names the file in messages.

    `sent` says what the plan knows of what is sent there: the file, or an archive that has it from `offset` on.
    `explain` says what a refusal means; None: as at the source that `subject` names.
    """

    def __init__(
        self,
        client: Client,
        place: Place,
        sent: RequestedFile,
        subject: str,
        clock: Clock,
        pin: Pin | None = None,
        offset: int = 0,
        explain: Explain | None = None,
    ) -> None:
        self._client = client
        self._place = place
        self._sent = sent
        self.subject = subject
        self._clock = clock
        self._pin = pin
        self._offset = offset
        self._explain = explain or _EXPLAIN.get(subject.partition(":")[0], http_error)
        self._home: Origin | None = None
        self._target: Target | None = None
        self._redirects = True
        self._serves_ranges = False
        self._sends_unlabelled = False
        self._validators: dict[tuple[Origin, str], str] = {}
        self._opening = asyncio.Lock()

    @property
    def pinned(self) -> bool:
        """Whether another version of the file than the planned one is an error."""
        return self._pin is not None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown if a server sends it back."""
        return self._place.secrets

    @property
    def response_timeout(self) -> float:
        """How many seconds the source may take until its answer begins."""
        return self._client.response_timeout

    async def get(self, wanted: ByteRange, *, allow_whole: bool, on_request: Callable[[Origin], None]) -> RangeReply:
        """A reply with the range `wanted`. The caller closes it. `on_request` is that of `Client.get`.

        Of an archive, `wanted` may also be before the file (negative), or after it.

        `allow_whole`: the reply may have the whole file; then `wanted` reaches to the end of the file. Without it,
        such a reply raises RangesNotSupported. Raises RepresentationChanged, what `Client.get` raises, and what
        `hub_error` returns.
        """
        wanted = wanted.moved(self._offset)
        asked = self._sent.whole if allow_whole and self._sends_unlabelled else wanted
        reply = await self._send(asked, on_request)
        try:
            self._check_pin(reply)
            body = self._body(reply, asked, allow_whole=allow_whole)
            self._check_validator(reply)
        except BaseException:
            reply.close()
            raise
        return RangeReply(reply, wanted.start - body.range.start, body.open_ended, body.range.stop > wanted.stop)

    async def _send(self, wanted: ByteRange, on_request: Callable[[Origin], None]) -> Reply:
        headers = {"Range": wanted.header}
        if self._pin:
            headers[self._pin.header] = self._pin.value
        known = self._known()
        if known is not None:
            reply = await self._request(known, headers, on_request)
            if reply.status not in _EXPIRED_STATUSES:
                return reply
            reply.close()
            if self._target == known:
                self._target = None
        if not self._redirects:
            return await self._open(headers, on_request)
        async with self._opening:
            known = self._known()
            if known is None:
                return await self._open(headers, on_request)
        return await self._request(known, headers, on_request)

    async def _request(self, target: Target, headers: dict[str, str], on_request: Callable[[Origin], None]) -> Reply:
        return await self._client.get(target.url, {**headers, **target.headers}, target.credentials, on_request)

    async def _open(self, headers: dict[str, str], on_request: Callable[[Origin], None]) -> Reply:
        opened = await self._place.open(headers, on_request)
        self._home, self._target = opened.home, opened.target
        self._redirects = opened.target is not None or opened.reply.status not in {200, 206}
        return opened.reply

    def _known(self) -> Target | None:
        target = self._target
        if target is None or (target.refresh_at is not None and self._clock.wall() >= target.refresh_at):
            return None
        return target

    def _body(self, reply: Reply, asked: ByteRange, *, allow_whole: bool) -> Body:
        """What the body has. Raises the error if it is neither `asked` nor, with `allow_whole`, the whole file."""
        if reply.status not in {200, 206}:
            raise self._status_error(reply)
        check_not_encoded(reply, self.subject)
        body = judge(answer_header(reply.status, reply.headers), asked, self._sent)
        if isinstance(body, WrongAnswer):
            raise SourceUnavailable(f"{reply.origin}, asked for {self.subject}, {body.problem}")
        if isinstance(body, Unlabelled) or not (body.range == asked or allow_whole):
            raise self._range_ignored_error(reply, body)
        self._serves_ranges = self._serves_ranges or body.range != self._sent.whole
        return body

    def _check_pin(self, reply: Reply) -> None:
        """Raises RepresentationChanged if the answer is of another version than the planned one (RFC 9110, 13.1).

        The whole file as an answer to If-Range means that it has changed, unless the validator says otherwise: the
        server may not know ranges. A web page is no version of the file, but for example a session that is over.
        """
        if self._pin is None or reply.status not in {200, 206, 412} or reply.is_web_page:
            return
        found = reply.headers.get("ETag" if self._pin.value.startswith('"') else "Last-Modified")
        unclear = reply.status == 200 and self._pin.header == "If-Range"
        if reply.status == 412 or (found is None and unclear) or found not in {None, self._pin.value}:
            raise RepresentationChanged

    def _check_validator(self, reply: Reply) -> None:
        """Raises RepresentationChanged if a host sends another validator than before (RFC 9110, 8.8).

        The validator is the strong entity tag, else the time of the last change. Those of different hosts are not
        compared. A file with a known digest needs none: the edges of one host may give the same bytes different
        validators, and the digest decides at the end.
        """
        if self._sent.digest_known or self._pin:
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
        if self._home is not None and reply.origin != self._home:
            return self._content_host_error(reply)
        credentials, sent = self._place.credentials, reply.credentials is not None
        withheld = credentials is not None and credentials.permits(reply.origin) and not sent
        page = reply.url.partition("/resolve/")[0] if self._explain is hub_error else str(reply.origin)
        asked = HubRequest(self.subject, page, sent or bool(self._place.secrets), withheld=withheld)
        return self._explain(reply.status, reply.headers, asked, self._clock.wall())

    def _content_host_error(self, reply: Reply) -> ProvisionError:
        """A limit of the content host counts as one of the hub, because every download of the hub leads to it."""
        wait = retry_after(reply.headers, self._clock.wall())
        if reply.status == 429:
            return RateLimited(f"the content host {reply.origin} limits how often it is asked (429)", wait)
        return SourceUnavailable(f"the content host {reply.origin} refused a new address ({reply.status})", wait)
