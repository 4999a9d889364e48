"""Decides what a caller may read, by asking the API server with the caller's own token.

A SelfSubjectAccessReview asks for the whole cluster first, then for one namespace. `api` and `stream` call this for
each request. Writes are not decided here: they go to the API server with the caller's token.
"""

import asyncio
import base64
import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from model_provisioner.domain.annotations import GROUP
from model_provisioner.gateway.problems import Problem, unauthorized
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import PLURAL

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_CACHE_SECONDS = 60.0
_OUTAGE_SECONDS = 2.0  # after a request without an answer, the API server is not asked again for this time
_MAX_CACHED = 10_000

_Key = tuple[str, str, str]
"""The digest of a token, a verb, and a namespace or "" for the whole cluster."""


@dataclass(frozen=True, slots=True)
class _Review:
    """The result of one review, or the error instead of it; valid until `expires`, in seconds of the clock."""

    allowed: bool
    error: ApiError | None
    expires: float


class Grant:
    """The right of a caller to read for longer than one request.

    `namespace` is the one that may be read; None means all. `identity` is the same for all tokens of an account.
    `expires` is in seconds of the clock of the `authorizer`; `token` is None if callers need none.
    """

    def __init__(
        self,
        authorizer: "Authorizer",
        token: str | None,
        verb: str,
        namespace: str | None,
        identity: str,
        expires: float,
    ) -> None:
        self.namespace = namespace
        self.identity = identity
        self._authorizer = authorizer
        self._token = token
        self._verb = verb
        self._expires = expires
        self._checked = authorizer.monotonic()

    async def is_valid(self) -> bool:
        """Checks the right once a minute. It stays valid while the API server does not answer."""
        now = self._authorizer.monotonic()
        if now >= self._expires:
            return False
        if self._token is None or now < self._checked + _CACHE_SECONDS:
            return True
        try:
            allowed = await self._authorizer.is_allowed(self._token, self._verb, self.namespace or "")
        except ApiError as error:
            return not error.is_refused
        self._checked = now
        return allowed


class Authorizer:
    """Asks once a minute for each token, verb and namespace; concurrent requests share one review.

    `default_namespace` is read if a request names no namespace and the caller may not read the whole cluster.
    With `open_to_all` (`--auth none`) reading needs no token, and writing is refused unless `anonymous_writes`
    allows it with the gateway's own rights. `monotonic` is a clock in seconds.
    """

    def __init__(
        self,
        api: KubeApi,
        default_namespace: str,
        *,
        open_to_all: bool,
        anonymous_writes: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._default_namespace = default_namespace
        self._anonymous_writes = anonymous_writes
        self._cache: dict[_Key, _Review] = {}
        self._running: dict[_Key, asyncio.Task[_Review]] = {}
        self.open_to_all = open_to_all
        self.monotonic = monotonic
        self.reviews = 0
        """The number of reviews that the API server was asked for."""

    def write_token(self, request: web.Request) -> str | None:
        """The token for a write; None means the gateway's own account. Raises Problem (401, 403)."""
        if not self.open_to_all:
            return bearer(request)
        if self._anonymous_writes:
            return None
        detail = "this gateway was started with --auth none, which is read-only; use kubectl to change things"
        raise Problem(403, "Forbidden", detail)

    def caller_token(self, request: web.Request) -> str | None:
        """The caller's token, for a read that the API server authorizes itself; None if callers need no token.

        Raises Problem (401).
        """
        return None if self.open_to_all else bearer(request)

    async def readable_namespace(self, request: web.Request, verb: str, namespace: str | None) -> str | None:
        """The namespace that the request may read; None means all namespaces.

        `namespace` is the one that the request names. Raises Problem (401, 403), ApiError.
        """
        return namespace if self.open_to_all else await self._authorize(bearer(request), verb, namespace)

    async def grant(
        self, request: web.Request, token: str | None, verb: str, namespace: str | None, expires: float = math.inf
    ) -> Grant:
        """Like `readable_namespace`, for a request that lasts. `token` goes before the one in the request.

        Raises Problem (401, 403), ApiError.
        """
        if self.open_to_all:
            return Grant(self, None, verb, namespace, request.remote or "", math.inf)
        token = token or bearer(request)
        readable = await self._authorize(token, verb, namespace)
        return Grant(self, token, verb, readable, _identity(token), expires)

    async def is_allowed(self, token: str, verb: str, namespace: str) -> bool:
        """Whether the account of `token` may `verb` ModelDownloads in `namespace`; "" means the whole cluster.

        Raises ApiError.
        """
        key = (_digest(token), verb, namespace)
        review = self._cache.get(key)
        if review is None or review.expires <= self.monotonic():
            if key not in self._running:
                self._running[key] = asyncio.create_task(self._refresh(key, token))
            review = await asyncio.shield(self._running[key])  # another request may wait for the same review
        if review.error is not None:
            raise review.error.with_traceback(None)
        return review.allowed

    async def _authorize(self, token: str, verb: str, namespace: str | None) -> str | None:
        if await self.is_allowed(token, verb, ""):
            return namespace
        readable = namespace or self._default_namespace
        if await self.is_allowed(token, verb, readable):
            return readable
        raise Problem(403, "Forbidden", f"this token may not {verb} {PLURAL}.{GROUP} in namespace {readable}")

    async def _refresh(self, key: _Key, token: str) -> _Review:
        self.reviews += 1
        begun = self.monotonic()
        try:
            review = _Review(await self._ask(key, token), None, begun + _CACHE_SECONDS)
        except ApiError as error:
            seconds = _CACHE_SECONDS if error.is_refused else _OUTAGE_SECONDS
            review = _Review(allowed=False, error=error, expires=begun + seconds)
        finally:
            del self._running[key]
        self._store(key, review)
        return review

    async def _ask(self, key: _Key, token: str) -> bool:
        _, verb, namespace = key
        attributes = {"group": GROUP, "resource": PLURAL, "verb": verb, "namespace": namespace}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        return bool((await self._api.create(_REVIEWS, review, token=token))["status"].get("allowed"))

    def _store(self, key: _Key, review: _Review) -> None:
        """The oldest reviews make room, because they expire first."""
        self._cache.pop(key, None)
        while len(self._cache) >= _MAX_CACHED:
            del self._cache[next(iter(self._cache))]
        self._cache[key] = review


def bearer(request: web.Request) -> str:
    """The bearer token of the request (RFC 6750). Raises Problem (401)."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or not token.isascii():
        raise unauthorized()
    return token.strip()


def _identity(token: str) -> str:
    """The account of a JSON Web Token (RFC 7519: `iss` and `sub`), else the digest of the token.

    The signature is not verified, because the API server has just accepted the token.
    """
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return f"{claims['iss']} {claims['sub']}"
    except (ValueError, LookupError, TypeError, RecursionError):
        return _digest(token)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
