"""The one HTTP client for everything that a user's ref can reach.

Guards every hop and every address, follows redirects by hand, gives a credential to its own origins
alone, goes through the administrator's proxy if there is one, and turns what goes wrong below HTTP
into errors for people. What a status means is judged by the caller. A URL may be signed, so no
message shows more of it than its origin.
"""

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from model_provisioner import __version__
from model_provisioner.domain.addresses import NetworkPolicy, Origin, check_address, check_url
from model_provisioner.domain.errors import (
    AccessDenied,
    AddressNotAllowed,
    NameResolutionFailed,
    ProvisionError,
    SourceUnavailable,
    TLSVerificationFailed,
    TransferStalled,
)
from model_provisioner.domain.proxies import Proxy
from model_provisioner.transfer.connecting import GuardedConnector, GuardedResolver
from model_provisioner.transfer.protocol import Credentials

_CONNECT_SECONDS = 15.0
_SILENCE_SECONDS = 30.0
_MOST_REDIRECTS = 5
_FORBIDDEN = 403
_PROXY_AUTHENTICATION_REQUIRED = 407
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUFFER_BYTES = 128 * 1024
_HEADERS_FOR_ALL = frozenset({"range", "if-range", "accept", "accept-encoding", "user-agent"})
"""What a foreign origin may see of a caller's headers."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What the administrator allows, certificates to trust in addition to the system's, and the proxy to go through.

    With a proxy, which hides addresses, only the hosts that are listed are spoken to.
    """

    policy: NetworkPolicy = field(default_factory=NetworkPolicy)
    ca_file: Path | None = None
    proxy: Proxy | None = None


class Reply:
    """The answer of the last hop. `url` is where it came from; leave the context to free the connection."""

    def __init__(self, url: str, response: aiohttp.ClientResponse) -> None:
        self.url = url
        self.origin = Origin.of(url)
        self._response = response

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Names ignore case."""
        return self._response.headers

    async def read(self) -> bytes:
        """What has come of the body, still encoded, and b"" at its end.

        Raises SourceUnavailable, TransferStalled after 30 s of silence.
        """
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise _error_for(error, self.origin) from error

    async def chunks(self) -> AsyncIterator[bytes]:
        """All of the body, as `read` has it."""
        while chunk := await self.read():
            yield chunk

    def close(self) -> None:
        """A connection whose body was read to its end is used again, any other is closed."""
        self._response.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class Client:
    def __init__(self, session: aiohttp.ClientSession, policy: NetworkPolicy, proxy: Proxy | None = None) -> None:
        self._session = session
        self._policy = policy
        self._proxy_headers = _proxy_authorization(proxy)

    async def get(self, url: str, headers: Mapping[str, str], credentials: Credentials | None) -> Reply:
        """The answer to a GET, whatever its status, after at most five redirects.

        `headers` other than those about ranges and content types stay with the origin of `url`.

        Raises AddressNotAllowed, NameResolutionFailed, TLSVerificationFailed, SourceUnavailable,
        TransferStalled, AccessDenied (by the proxy).
        """
        first = Origin.of(url)
        for _ in range(_MOST_REDIRECTS + 1):
            own = headers if Origin.of(url) == first else _for_all(headers)
            reply = await self._send(url, own, credentials)
            if reply.status not in _REDIRECTS or "Location" not in reply.headers:
                return reply
            reply.close()
            url = _target(url, reply.headers["Location"])
        raise SourceUnavailable(f"{Origin.of(url)} redirects again and again: the address leads nowhere")

    async def _send(self, url: str, headers: Mapping[str, str], credentials: Credentials | None) -> Reply:
        check_url(url, self._policy)
        origin = Origin.of(url)
        if _is_address(origin.host):  # the resolver is asked for names only
            check_address(origin.host, origin.host, origin.port, self._policy)
        own = {"Accept-Encoding": "identity", **headers, **_authorization(origin, credentials)}
        if origin.scheme == "http":  # the proxy itself reads the request; for https it reads the CONNECT before it
            own |= self._proxy_headers
        with _translated(origin):
            verbatim = URL(url, encoded=True)  # a signature covers the spelling
            response = await self._session.get(
                verbatim, headers=own, allow_redirects=False, proxy_headers=self._proxy_headers
            )
        if response.status == _PROXY_AUTHENTICATION_REQUIRED:
            response.close()
            raise _proxy_refusal(response.status, origin)
        return Reply(url, response)


@contextlib.asynccontextmanager
async def open_client(settings: NetworkSettings, resolver: AbstractResolver | None = None) -> AsyncIterator[Client]:
    """A client for one event loop; `resolver` answers for names (None: the system's).

    Raises OSError or ssl.SSLError where the CA file can't be used.
    """
    proxy = settings.proxy
    policy = replace(settings.policy, only_listed=settings.policy.only_listed or proxy is not None)
    session = aiohttp.ClientSession(
        connector=_connector(settings, policy, resolver or aiohttp.ThreadedResolver()),
        proxy=str(proxy.origin) if proxy else None,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS),
        headers={"User-Agent": f"model-provisioner/{__version__}"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        read_bufsize=_BUFFER_BYTES,
    )
    async with session:
        yield Client(session, policy, proxy)


def _connector(settings: NetworkSettings, policy: NetworkPolicy, resolver: AbstractResolver) -> aiohttp.TCPConnector:
    """Through a proxy the only address that is ever connected to is the proxy's, which the administrator has named."""
    tls = _tls(settings.ca_file)
    if settings.proxy is not None:
        return aiohttp.TCPConnector(resolver=resolver, ssl=tls, limit=0, limit_per_host=0)
    return GuardedConnector(policy, GuardedResolver(policy, resolver), ssl=tls, limit=0, limit_per_host=0)


def _proxy_authorization(proxy: Proxy | None) -> dict[str, str]:
    if proxy is None or proxy.username is None:
        return {}
    return {"Proxy-Authorization": aiohttp.encode_basic_auth(proxy.username, proxy.password or "")}


def _tls(ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _authorization(origin: Origin, credentials: Credentials | None) -> dict[str, str]:
    if credentials is None or origin not in {Origin.of(allowed) for allowed in credentials.origins}:
        return {}
    return {"Authorization": f"Bearer {credentials.token}"}


def _for_all(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() in _HEADERS_FOR_ALL}


def _target(url: str, location: str) -> str:
    """Where a redirect leads. Raises AddressNotAllowed where it gives up encryption."""
    target = urljoin(url, location)
    if Origin.of(url).scheme == "https" and Origin.of(target).scheme != "https":
        raise AddressNotAllowed(f"{Origin.of(url)} redirects to {Origin.of(target)}, which is not encrypted: refused")
    return target


@contextlib.contextmanager
def _translated(origin: Origin) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        raise _error_for(error, origin) from error


def _error_for(error: Exception, origin: Origin) -> ProvisionError:
    """Where a proxy is in the way, what is wrong with it is not blamed on the source."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _proxy_refusal(error.status, origin)
    if isinstance(error, aiohttp.SocketTimeoutError):
        return TransferStalled(f"{origin} sent nothing for {_SILENCE_SECONDS:.0f} seconds")
    if isinstance(error, aiohttp.ServerTimeoutError):
        return SourceUnavailable(f"{origin} did not take a connection within {_CONNECT_SECONDS:.0f} seconds")
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError):
        return _no_connection(error, origin)
    return SourceUnavailable(f"the connection to {origin} broke: {_cause(error)}")


def _no_connection(
    error: aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError, origin: Origin
) -> ProvisionError:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NameResolutionFailed(
            f"the name {error.host} can't be resolved: check its spelling and the cluster's DNS"
        )
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return TLSVerificationFailed(
            f"the certificate of {origin} can't be verified ({_certificate_problem(error)}): "
            "if it has a CA of its own, ask the administrator to add it (--ca-file)"
        )
    to = f"the proxy {error.host}" if isinstance(error, aiohttp.ClientProxyConnectionError) else str(origin)
    return SourceUnavailable(f"no connection to {to}: {_cause(error.os_error)}")


def _proxy_refusal(status: int, origin: Origin) -> ProvisionError:
    if status == _PROXY_AUTHENTICATION_REQUIRED:
        return AccessDenied(
            f"the proxy asks for a user name and password, or for others, before it leads to {origin} (407): "
            "ask the administrator to correct its address (--proxy @FILE)"
        )
    if status == _FORBIDDEN:
        return AddressNotAllowed(f"the proxy does not lead to {origin} (403): ask whoever runs it to allow that host")
    return SourceUnavailable(f"the proxy got no connection to {origin} ({status})")


def _certificate_problem(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else type(cause).__name__


def _cause(error: BaseException) -> str:
    """In few words and without the URL, which aiohttp puts into some of its messages."""
    return getattr(error, "strerror", None) or type(error).__name__
