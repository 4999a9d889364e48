"""The one HTTP client for everything that a user's ref can reach.

Guards every hop and every address, follows redirects by hand, gives a credential to its own origins
alone, and turns what goes wrong below HTTP into errors for people. What a status means is judged by
the caller. A URL may be signed, so no message shows more of it than its origin.
"""

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from model_provisioner import __version__
from model_provisioner.domain.addresses import NetworkPolicy, Origin, check_address, check_url
from model_provisioner.domain.errors import (
    AddressNotAllowed,
    NameResolutionFailed,
    ProvisionError,
    SourceUnavailable,
    TLSVerificationFailed,
    TransferStalled,
)
from model_provisioner.transfer.protocol import Credentials

_CONNECT_SECONDS = 15.0
_SILENCE_SECONDS = 30.0
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUFFER_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What the administrator allows, and certificates to trust in addition to the system's."""

    policy: NetworkPolicy = field(default_factory=NetworkPolicy)
    ca_file: Path | None = None


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
    def __init__(self, session: aiohttp.ClientSession, policy: NetworkPolicy) -> None:
        self._session = session
        self._policy = policy

    async def get(self, url: str, headers: Mapping[str, str], credentials: Credentials | None) -> Reply:
        """The answer to a GET, whatever its status, after at most five redirects.

        Raises AddressNotAllowed, NameResolutionFailed, TLSVerificationFailed, SourceUnavailable,
        TransferStalled.
        """
        for _ in range(_MOST_REDIRECTS + 1):
            reply = await self._send(url, headers, credentials)
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
        with _translated(origin):
            verbatim = URL(url, encoded=True)  # a signature covers the spelling
            return Reply(url, await self._session.get(verbatim, headers=own, allow_redirects=False))


@contextlib.asynccontextmanager
async def open_client(settings: NetworkSettings) -> AsyncIterator[Client]:
    """A client for one event loop. Raises OSError or ssl.SSLError where the CA file can't be used."""
    connector = aiohttp.TCPConnector(
        resolver=_GuardedResolver(settings.policy), ssl=_tls(settings.ca_file), limit=0, limit_per_host=0
    )
    session = aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS),
        headers={"User-Agent": f"model-provisioner/{__version__}"},
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        read_bufsize=_BUFFER_BYTES,
    )
    async with session:
        yield Client(session, settings.policy)


class _GuardedResolver(AbstractResolver):
    """Names to addresses that may be connected to; the connector connects to these and asks nobody else."""

    def __init__(self, policy: NetworkPolicy) -> None:
        self._policy = policy
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises AddressNotAllowed where no address is allowed, OSError where there is none."""
        found = await self._resolver.resolve(host, port, family)
        allowed, refused = [], None
        for result in found:
            try:
                check_address(result["host"], host, port, self._policy)
                allowed.append(result)
            except AddressNotAllowed as error:
                refused = error
        if refused and not allowed:
            raise refused
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


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


def _target(url: str, location: str) -> str:
    """Where a redirect leads. Raises AddressNotAllowed where it gives up encryption."""
    target = urljoin(url, location)
    if url.startswith("https:") and Origin.of(target).scheme != "https":
        raise AddressNotAllowed(f"{Origin.of(url)} redirects to {Origin.of(target)}, which is not encrypted: refused")
    return target


@contextlib.contextmanager
def _translated(origin: Origin) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        raise _error_for(error, origin) from error


def _error_for(error: Exception, origin: Origin) -> ProvisionError:
    """In order: the first class that fits counts."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return NameResolutionFailed(
            f"the name {origin.host} can't be resolved: check its spelling and the cluster's DNS"
        )
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return TLSVerificationFailed(
            f"the certificate of {origin} can't be verified ({_certificate_problem(error)}): "
            "if it has a CA of its own, ask the administrator to add it (--ca-file)"
        )
    if isinstance(error, aiohttp.SocketTimeoutError):
        return TransferStalled(f"{origin} sent nothing for {_SILENCE_SECONDS:.0f} seconds")
    if isinstance(error, aiohttp.ServerTimeoutError):
        return SourceUnavailable(f"{origin} did not take a connection within {_CONNECT_SECONDS:.0f} seconds")
    if isinstance(error, aiohttp.ClientConnectorError):
        return SourceUnavailable(f"no connection to {origin}: {_cause(error.os_error)}")
    return SourceUnavailable(f"the connection to {origin} broke: {_cause(error)}")


def _certificate_problem(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else type(cause).__name__


def _cause(error: BaseException) -> str:
    """In few words and without the URL, which aiohttp puts into some of its messages."""
    return getattr(error, "strerror", None) or type(error).__name__
