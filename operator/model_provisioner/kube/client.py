"""A client of the API server: single requests and watches, with our own identity or with the token of a caller.

The controller and the gateway use it. The official client does the login (kubeconfig, service account, token rotation).
The requests are plain HTTP, because we need few: JSON, merge patch, JSON Patch, server-side apply and watch.
"""

import asyncio
import contextlib
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

import aiohttp

from model_provisioner.kube.official_client import (
    ConfigException,
    Configuration,
    load_incluster_config,
    load_kube_config,
)

Document = Mapping[str, Any]
Query = Mapping[str, str]

_REQUEST = aiohttp.ClientTimeout(total=60, connect=10, sock_read=15)  # ends a connection that died without a reset
_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
_MAX_CONCURRENT_REQUESTS = 100  # without watches: each namespace has one, which stays open for minutes
_TRANSIENT = frozenset({429, 500, 502, 503, 504})
_UNACCEPTABLE = frozenset({400, 413, 422})
_LINE_LIMIT = 16 * 1024 * 1024


class ApiError(Exception):
    """An error response of the API server; `status` 0 means that there was no readable response.

    `retry_after` is in seconds.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(f"{message} ({status} {reason})" if status else message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    @property
    def is_not_found(self) -> bool:
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def is_absent(self) -> bool:
        """The API server itself says that the object does not exist; a proxy's 404 has no such reason."""
        return self.is_not_found and self.reason == "NotFound"

    @property
    def is_conflict(self) -> bool:
        """Another client changed the object first, or it exists already."""
        return self.status == HTTPStatus.CONFLICT

    @property
    def is_unauthorized(self) -> bool:
        return self.status == HTTPStatus.UNAUTHORIZED

    @property
    def is_forbidden(self) -> bool:
        return self.status == HTTPStatus.FORBIDDEN

    @property
    def is_refused(self) -> bool:
        """The token is invalid, or its account lacks the permission."""
        return self.is_unauthorized or self.is_forbidden

    @property
    def is_invalid(self) -> bool:
        """The object does not match the schema, or the test of a JSON Patch failed."""
        return self.status == HTTPStatus.UNPROCESSABLE_ENTITY

    @property
    def is_unacceptable(self) -> bool:
        """The same body will be refused again: it is malformed, too large, or does not match the schema."""
        return self.status in _UNACCEPTABLE

    @property
    def is_expired(self) -> bool:
        """The resourceVersion to watch from is too old: the collection must be listed again."""
        return self.status == HTTPStatus.GONE

    @property
    def is_unanswered(self) -> bool:
        """There was no response, or it could not be read."""
        return self.status == 0

    @property
    def is_transient(self) -> bool:
        """The same request may succeed soon. A conflict is not transient: the caller must read the object first."""
        return self.is_unanswered or self.status in _TRANSIENT


class TooLarge(ApiError):
    """The answer has more bytes than the caller wants to read."""


@dataclass(frozen=True, slots=True)
class Connection:
    """The address of the API server and our credentials there. `…_file` are paths of PEM files."""

    server: str
    ca_file: str | None
    certificate_file: str | None
    key_file: str | None
    token: str | None = field(repr=False)


class KubeApi:
    """A client of one API server. Create it with `connect`, and call `close` at the end.

    `kubeconfig` is read again if the API server refuses our login; None means that of `connect`.
    """

    def __init__(
        self, configuration: Configuration, session: aiohttp.ClientSession, kubeconfig: Path | None = None
    ) -> None:
        self._configuration = configuration
        self._session = session
        self._kubeconfig = kubeconfig
        self._refused = False
        self._contexts: dict[bool, ssl.SSLContext] = {}
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT_REQUESTS)
        self.answered = Counter[tuple[str, int]]()
        """The number of responses of the API server, by method and status; a watch counts when it begins."""

    @classmethod
    async def connect(cls, kubeconfig: Path | None = None) -> "KubeApi":
        """Logs in with `kubeconfig`. If None: as the pod's service account, else with the user's default kubeconfig."""
        connector = aiohttp.TCPConnector(limit=0)
        session = aiohttp.ClientSession(connector=connector, read_bufsize=_LINE_LIMIT)
        return cls(await _log_in(kubeconfig), session, kubeconfig)

    async def close(self) -> None:
        await self._session.close()

    async def connection(self) -> Connection:
        """Our own login for another client. Reads it again, because a client asks when its login failed or expires.

        Raises ApiError if our token cannot be read now.
        """
        await self._log_in_again()
        own = self._configuration
        return Connection(own.host, own.ssl_ca_cert, own.cert_file, own.key_file, await self._own_token())

    async def get(
        self, path: str, query: Query | None = None, token: str | None = None, max_bytes: int | None = None
    ) -> dict[str, Any]:
        """Reads the object or list at `path`. Raises ApiError, TooLarge if the answer has more than `max_bytes`."""
        return await self._request("GET", path, query=query, token=token, max_bytes=max_bytes)

    async def create(self, path: str, body: Document, token: str | None = None) -> dict[str, Any]:
        """Creates `body` in the collection at `path`. Raises ApiError."""
        return await self._request("POST", path, body=body, token=token)

    async def patch(
        self,
        path: str,
        body: Document | Sequence[Document],
        kind: Literal["merge", "json", "apply"] = "merge",
        *,
        field_manager: str | None = None,
        token: str | None = None,
    ) -> dict[str, Any]:
        """Sends a merge patch (RFC 7386), a JSON Patch (RFC 6902), or a forced server-side apply as `field_manager`.

        Raises ApiError.
        """
        query = {"fieldManager": field_manager, "force": "true"} if field_manager else {}
        return await self._request("PATCH", path, body=body, query=query, content_type=_PATCH_TYPES[kind], token=token)

    async def delete(self, path: str, body: Document | None = None, token: str | None = None) -> dict[str, Any]:
        """Deletes the object at `path`; `body` may hold preconditions. Raises ApiError."""
        return await self._request("DELETE", path, body=body, token=token)

    async def watch(self, path: str, query: Query, silence: float) -> AsyncIterator[dict[str, Any]]:
        """Yields the events of one watch request until the server ends it.

        Raises ApiError, with status 0 if no event arrives for `silence` seconds or if a line is not JSON.
        """
        timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=silence)
        query = {**query, "watch": "true"}
        try:
            async with self._session.request(
                "GET", self._url(path), params=query, timeout=timeout, **await self._identity(None)
            ) as response:
                self._record_response(response, None)
                await _raise_for_status(response)
                async for line in response.content:
                    yield json.loads(line)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(error) from None
        except ValueError as error:
            raise _unreadable(error) from None

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Document | Sequence[Document] | None = None,
        content_type: str = "application/json",
        token: str | None = None,
        max_bytes: int | None = None,
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        identity = await self._identity(token)
        identity["headers"] |= {"Content-Type": content_type}
        if max_bytes is not None:  # a compressed answer is unpacked before it can be counted
            identity["headers"] |= {"Accept-Encoding": "identity"}
        try:
            async with (
                self._slots,
                self._session.request(
                    method, self._url(path), params=query, data=data, timeout=_REQUEST, **identity
                ) as response,
            ):
                self._record_response(response, token)
                await _raise_for_status(response)
                answer: dict[str, Any] = json.loads(await _read(response, max_bytes))
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _unreachable(error) from None
        except ValueError as error:
            raise _unreadable(error) from None

    def _url(self, path: str) -> str:
        return f"{self._configuration.host}{path}"

    def _record_response(self, response: aiohttp.ClientResponse, token: str | None) -> None:
        self.answered[response.method, response.status] += 1
        if token is None and response.status == 401:
            self._refused = True

    async def _log_in_again(self) -> None:
        """Reads our login again. The files have a new one if the refused one was rotated."""
        self._refused = False
        with contextlib.suppress(ConfigException, OSError):  # a half-written file is read again after the next refusal
            self._configuration = await _log_in(self._kubeconfig)
            self._contexts.clear()

    async def _identity(self, token: str | None) -> dict[str, Any]:
        """The headers and TLS context of a request. With a caller's `token` there is no client certificate of ours,
        because the API server would prefer it to the token.
        """
        if self._refused and token is None:
            await self._log_in_again()
        headers = {"Accept": "application/json", "User-Agent": "model-provisioner"}
        own_token = token or await self._own_token()
        if own_token:
            headers["Authorization"] = f"Bearer {own_token}"
        return {"headers": headers, "ssl": self._tls(with_certificate=token is None)}

    async def _own_token(self) -> str | None:
        """Our token. The official client reads a service account's token again every minute, because it is rotated."""
        try:
            value = await self._configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        except (ConfigException, OSError) as error:  # half-written, or missing for a moment
            raise ApiError(0, "NoIdentity", f"our own token can't be read: {error}") from None
        return value.strip().split(" ", 1)[-1] if value else None

    def _tls(self, *, with_certificate: bool) -> ssl.SSLContext:
        """The TLS context, which is created once so that connections are reused."""
        if with_certificate not in self._contexts:
            context = ssl.create_default_context(cafile=self._configuration.ssl_ca_cert)
            if with_certificate and self._configuration.cert_file:
                context.load_cert_chain(self._configuration.cert_file, self._configuration.key_file)
            self._contexts[with_certificate] = context
        return self._contexts[with_certificate]


async def _log_in(kubeconfig: Path | None) -> Configuration:
    configuration = Configuration()
    try:
        if kubeconfig is not None:
            raise ConfigException("told to use a kubeconfig")
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except ConfigException:
        await load_kube_config(  # type: ignore[no-untyped-call]
            config_file=str(kubeconfig) if kubeconfig else None, client_configuration=configuration
        )
    return configuration


async def _read(response: aiohttp.ClientResponse, max_bytes: int | None) -> bytes:
    """The body. Raises TooLarge."""
    if max_bytes is None:
        return await response.read()
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge(0, "TooLarge", f"the API server's answer has more than {max_bytes} bytes")
    return bytes(body)


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    """Raises ApiError for an error response. The API server sends a Status object; a proxy may send any body."""
    if response.status < 400:
        return
    text = await response.text()
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    status = answer if isinstance(answer, dict) else {}
    message = status.get("message") or text[:200] or str(response.reason)
    after = response.headers.get("Retry-After", "")
    reason = status.get("reason") or str(response.reason)
    raise ApiError(response.status, reason, message, float(after) if after.isdigit() else None)


def _unreachable(error: BaseException) -> ApiError:
    return ApiError(0, "Unreachable", f"the API server could not be reached: {type(error).__name__}: {error}")


def _unreadable(error: ValueError) -> ApiError:
    """The error for a connection that was cut within a document, or for a response of a proxy."""
    return ApiError(0, "Unreadable", f"the API server's answer could not be read: {error}")
