"""The HTTP client for every URL that a model ref leads to.

Called by `transfer.download.requests.remote_file` and `transfer.clients.hubs.hub_client`. It checks every URL and every
address, follows redirects itself, sends a credential to its own origins only, uses the administrator's proxy for the
hosts that it serves, and raises errors below HTTP as ProvisionError. The meaning of a status belongs to the caller. A
URL may be signed, so no message shows more of it than its origin.

A redirect that leaves the credential's origins ends its use: the other host chooses the rest of the chain, and must not
choose a path that is requested with the credential. libcurl is laxer: it sends `Authorization` again to the first host.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlencode

import pycurl

from model_provisioner import __version__
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import AccessDenied, SourceUnavailable, TransferStalled
from model_provisioner.domain.network.addresses import NetworkPolicy, Origin, check_url
from model_provisioner.domain.network.proxy import Proxy
from model_provisioner.domain.network.redaction import Redaction
from model_provisioner.domain.network.redirects import redirect_target
from model_provisioner.domain.network.response_time import DEFAULT_RESPONSE_SECONDS, no_answer
from model_provisioner.transfer.http.address_guard import Guard, Resolve, system_resolve
from model_provisioner.transfer.http.ca_bundle import trusted_authorities
from model_provisioner.transfer.http.curl_errors import (
    CONNECT_SECONDS,
    PROXY_AUTHENTICATION_REQUIRED,
    error_for,
    proxy_error,
    resolution_error,
)
from model_provisioner.transfer.http.curl_request import BufferLimit, CurlRequest, ReadTimeout

_SILENCE_SECONDS = 30.0  # between two bytes of a body
_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUFFER_BYTES = 64 * 1024
_SUPPRESS_CONNECT_HEADERS = 265  # curl/curl.h; pycurl has no name for it
Method = Literal["GET", "HEAD", "POST"]
_CROSS_ORIGIN_HEADERS = frozenset({"range", "if-range", "if-match", "accept", "accept-encoding", "user-agent"})
"""The headers of a caller that are sent to another origin after a redirect."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What the administrator configured: allowed addresses and hosts, a PEM file of further authorities, and a proxy.

    With a proxy only listed hosts are allowed, because the addresses that it connects to are not visible. This includes
    the hosts that are connected to without it. `response_timeout` is the most seconds until an answer begins.
    """

    policy: NetworkPolicy = field(default_factory=NetworkPolicy)
    ca_file: Path | None = None
    proxy: Proxy | None = None
    response_timeout: float = DEFAULT_RESPONSE_SECONDS


class Exchange:
    """One request to one origin, without redirects, and the address guard of its connection.

    `proxy` is None if the connection is direct.
    """

    def __init__(
        self,
        url: str,
        curl: pycurl.Curl,
        buffer_limit: BufferLimit,
        settings: NetworkSettings,
        proxy: Proxy | None,
    ) -> None:
        self.origin = Origin.of(url)
        self.guard = Guard(settings.policy, self.origin)
        self._request = CurlRequest(curl, buffer_limit)
        self._curl = curl
        self.proxy = proxy
        self._response_timeout = settings.response_timeout
        self._body_begun = False

    @property
    def status(self) -> int:
        return self._request.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._request.headers

    @property
    def round_trip(self) -> float:
        """See `Reply.round_trip`. A handshake takes one round trip, and so does an answer, beside the server's work."""
        answer = self._request.answer_seconds
        return answer if self.proxy else min(answer, self._request.connect_seconds or answer)

    async def start(self, multi: pycurl.AsyncCurlMulti) -> None:
        """Sends the request and waits for the header of the response. Raises what `_source_errors` raises."""
        with self._source_errors():
            self._request.start(multi)
            await self._request.wait_for_header(self._response_timeout)

    async def read(self, max_bytes: int | None) -> bytes:
        """See `Reply.read`. A proxy may send the header before it has the body, so its first byte may take as long."""
        with self._source_errors():
            seconds = _SILENCE_SECONDS if self._body_begun else self._response_timeout
            chunk = await self._request.read(seconds, max_bytes)
        self._body_begun = True
        return chunk

    def close(self) -> None:
        """Keeps the connection for reuse if the body was read to its end, else closes it."""
        self._request.close()

    @contextlib.contextmanager
    def _source_errors(self) -> Iterator[None]:
        """Raises TransferStalled, AddressNotAllowed or what `error_for` returns, instead of errors of libcurl."""
        try:
            yield
        except ReadTimeout:
            if not self._body_begun:
                raise no_answer(self.origin, self._response_timeout) from None
            raise TransferStalled(f"{self.origin} sent nothing for {_SILENCE_SECONDS:.0f} seconds") from None
        except pycurl.error as error:
            raise self.guard.refusal or error_for(self._curl, error, self.origin, self.proxy) from None


class Reply:
    """The response after all redirects, from `url`. Leaving the context frees the connection.

    `credentials` are those that the request was sent with, and the most that a request to an address in this response
    may be sent with.
    """

    def __init__(self, url: str, exchange: Exchange, credentials: Credentials | None) -> None:
        self.url = url
        self.credentials = credentials
        self.origin = exchange.origin
        self._exchange = exchange

    @property
    def status(self) -> int:
        return self._exchange.status

    @property
    def headers(self) -> Mapping[str, str]:
        """The names are case-insensitive."""
        return self._exchange.headers

    @property
    def round_trip(self) -> float:
        """An upper bound of the round-trip time to `origin` in seconds. Valid until `close`."""
        return self._exchange.round_trip

    @property
    def is_web_page(self) -> bool:
        """Whether it is HTML, which portals and login pages send instead of what was asked for."""
        return "html" in self.headers.get("Content-Type", "").lower()

    @property
    def is_redirect(self) -> bool:
        return self.status in _REDIRECTS and "Location" in self.headers

    async def read(self, max_bytes: int | None = None) -> bytes:
        """The bytes of the body received so far, content encoding not removed; b"" at the end.

        Waits for the first byte. Returns at most about `max_bytes`; the rest stays for the next call. Raises
        SourceUnavailable, and TransferStalled if the first byte does not come within the response timeout, or none
        for 30 seconds after it.
        """
        return await self._exchange.read(max_bytes)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The whole body, in the pieces that `read` returns."""
        while chunk := await self.read():
            yield chunk

    def close(self) -> None:
        """Keeps the connection for reuse if the body was read to its end, else closes it."""
        self._exchange.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class Client:
    """Sends requests over the connections of `multi`, and reuses these.

    `ca_bundle` is the path of a PEM file with all trusted authorities. `resolve` is not used for the hosts that `proxy`
    serves, because the proxy resolves their names itself.
    """

    def __init__(
        self, multi: pycurl.AsyncCurlMulti, settings: NetworkSettings, ca_bundle: str, resolve: Resolve
    ) -> None:
        self._multi = multi
        self._buffer_limit = BufferLimit()
        self._settings = settings
        self._ca_bundle = ca_bundle
        self._resolve = resolve

    @property
    def response_timeout(self) -> float:
        """How many seconds a source may take until its answer begins; on each hop of a redirect."""
        return self._settings.response_timeout

    def redaction(self, credentials: Credentials | None, others: Iterable[str] = ()) -> Redaction:
        """Finds what is sent with `credentials`, `others` and the password of the proxy, in text that comes back."""
        password = self._settings.proxy.password if self._settings.proxy else None
        return Redaction(filter(None, (*(credentials.secrets if credentials else ()), *others, password)))

    async def get(
        self,
        url: str,
        headers: Mapping[str, str],
        credentials: Credentials | None,
        on_request: Callable[[Origin], None] = lambda _: None,
    ) -> Reply:
        """The response to a GET, whatever its status, after at most five redirects.

        Another origin, and every request after that, receives only the `headers` about ranges and content types. No
        request has `credentials` after one to an origin that is not theirs. `on_request` is called with the origin of
        each request just before it is sent.

        Raises AddressNotAllowed, NameResolutionFailed, TLSVerificationFailed, SourceUnavailable,
        TransferStalled, AccessDenied (by the proxy).
        """
        first = Origin.of(url)
        for _ in range(_MAX_REDIRECTS + 1):
            if Origin.of(url) != first:
                headers = _cross_origin_headers(headers)
            on_request(Origin.of(url))
            reply = await self._send("GET", url, headers, credentials)
            if not reply.is_redirect:
                return reply
            reply.close()
            url, credentials = redirect_target(url, reply.headers["Location"]), reply.credentials
        raise _redirect_loop(url)

    def reaching(self, origin: Origin, *, direct: bool) -> "Client":
        """A client for this origin alone, which the administrator's environment names, and no ref.

        `direct`: without the proxy.
        """
        proxy = None if direct else self._settings.proxy
        settings = replace(self._settings, policy=NetworkPolicy.only(origin), proxy=proxy)
        return Client(self._multi, settings, self._ca_bundle, self._resolve)

    def reaching_only(self, origin: Origin, authority: str, resolve: Resolve) -> "Client":
        """A client for this origin alone, without the proxy.

        `authority` is the path of a PEM file with the only authority that is trusted. `resolve` is used for its host.
        """
        return Client(self._multi, NetworkSettings(NetworkPolicy.only(origin)), authority, resolve)

    async def headers(
        self, method: Method, url: str, headers: Mapping[str, str], credentials: Credentials | None
    ) -> tuple[Reply, ...]:
        """The replies to a request whose body is not wanted, in order; all of them are closed.

        Each but the last is a redirect within the origin of `url`. The last may be a redirect to another origin, which
        is not followed: its headers are those that describe the file (`X-Linked-Size`). Raises the same as `get`.
        """
        replies: list[Reply] = []
        for _ in range(_MAX_REDIRECTS + 1):
            reply = await self._send(method, url, headers, credentials)
            reply.close()
            replies.append(reply)
            if not reply.is_redirect:
                return tuple(replies)
            target = redirect_target(url, reply.headers["Location"])
            if Origin.of(target) != Origin.of(url):
                return tuple(replies)
            url = target
        raise _redirect_loop(url)

    async def post(self, url: str, form: Mapping[str, str]) -> Reply:
        """The response to a form. A redirect is not followed: the form is a secret. Raises the same as `get`."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Expect": ""}  # without a pause before the form
        return await self._send("POST", url, headers, None, urlencode(form))

    async def _send(
        self,
        method: Method | Literal["POST"],
        url: str,
        headers: Mapping[str, str],
        credentials: Credentials | None,
        body: str | None = None,
    ) -> Reply:
        check_url(url, self._settings.policy)
        origin = Origin.of(url)
        sent = credentials if credentials and credentials.permits(origin) else None
        asked = sent.address(url) if sent else url
        curl = _request(asked, {"Accept-Encoding": "identity", **headers, **(sent.request_headers if sent else {})})
        curl.setopt(pycurl.NOBODY, method == "HEAD")
        if body is not None:
            curl.setopt(pycurl.POSTFIELDS, body)
        proxy = self._settings.proxy
        direct = proxy is None or not proxy.serves(origin)
        exchange = Exchange(url, curl, self._buffer_limit, self._settings, None if direct else proxy)
        try:
            await self._pin_addresses(curl, exchange)
            curl.setopt(pycurl.CAINFO, self._ca_bundle)
            curl.setopt(pycurl.PROXY_CAINFO, self._ca_bundle)
            await exchange.start(self._multi)
            if exchange.status == PROXY_AUTHENTICATION_REQUIRED:
                raise proxy_error(exchange.status, origin)
        except BaseException:
            exchange.close()
            raise
        return Reply(url, exchange, sent)

    async def _pin_addresses(self, curl: pycurl.Curl, exchange: Exchange) -> None:
        """Lets libcurl connect to the allowed addresses only; with a proxy, to the proxy only."""
        if exchange.proxy is not None:
            exchange.guard.check_host()
            _use_proxy(curl, exchange.proxy)
            return
        try:
            addresses = await exchange.guard.addresses(self._resolve)
        except OSError:
            raise resolution_error(exchange.origin) from None
        if addresses != [exchange.origin.host]:
            bracketed = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
            curl.setopt(pycurl.RESOLVE, [f"{exchange.origin.host}:{exchange.origin.port}:{bracketed}"])
        curl.setopt(pycurl.OPENSOCKETFUNCTION, exchange.guard.open_socket)


@contextlib.asynccontextmanager
async def open_client(settings: NetworkSettings, resolve: Resolve = system_resolve) -> AsyncIterator[Client]:
    """A client for the running event loop. Tests replace `resolve`.

    Raises OSError or ssl.SSLError if the CA file can't be used.
    """
    policy = replace(settings.policy, only_listed=settings.policy.only_listed or settings.proxy is not None)
    with trusted_authorities(settings.ca_file) as ca_bundle:
        async with pycurl.AsyncCurlMulti() as multi:
            yield Client(multi, replace(settings, policy=policy), ca_bundle, resolve)


def _request(url: str, headers: Mapping[str, str]) -> pycurl.Curl:
    """A request for `url` exactly as it is written: a signature covers it. Ignores proxies of the environment."""
    curl = pycurl.Curl()
    for option, value in (
        (pycurl.URL, url),
        (pycurl.PATH_AS_IS, 1),
        (pycurl.PROTOCOLS, pycurl.PROTO_HTTPS | pycurl.PROTO_HTTP),
        (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
        (pycurl.HTTPHEADER, _header_lines(headers)),
        (pycurl.USERAGENT, f"model-provisioner/{__version__}"),
        (pycurl.PROXY, ""),
        (pycurl.NOPROXY, ""),
        (pycurl.CONNECTTIMEOUT, CONNECT_SECONDS),
        (pycurl.BUFFERSIZE, _BUFFER_BYTES),
        (pycurl.TCP_KEEPALIVE, 1),
        (pycurl.NOSIGNAL, 1),
    ):
        curl.setopt(option, value)
    return curl


def _header_lines(headers: Mapping[str, str]) -> list[str]:
    """Raises AccessDenied if a value has a line break or is not ASCII: only a credential can have one."""
    if not all(value.isprintable() and value.isascii() for value in headers.values()):
        raise AccessDenied("the token holds a line break or another character that no token has: enter it again")
    return [f"{name}: {value}" for name, value in headers.items()]


def _use_proxy(curl: pycurl.Curl, proxy: Proxy) -> None:
    curl.setopt(pycurl.PROXY, str(proxy.origin))
    curl.setopt(_SUPPRESS_CONNECT_HEADERS, 1)
    if proxy.username is not None:
        curl.setopt(pycurl.PROXYAUTH, pycurl.HTTPAUTH_BASIC)
        curl.setopt(pycurl.PROXYUSERNAME, proxy.username)
        curl.setopt(pycurl.PROXYPASSWORD, proxy.password or "")


def _cross_origin_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() in _CROSS_ORIGIN_HEADERS}


def _redirect_loop(url: str) -> SourceUnavailable:
    return SourceUnavailable(f"{Origin.of(url)} redirects again and again: the address leads nowhere")
