"""Who may read what: the API server is asked on the caller's behalf, with the caller's own token.

A SelfSubjectAccessReview cluster-wide first, then for one namespace. The answer counts for a minute, for
everybody who sends the same token, and those who ask meanwhile wait for the same review. Writes are not
judged here: they go to the API server as the caller.
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
_REMEMBERED_SECONDS = 60.0
_OUTAGE_SECONDS = 2.0  # an API server that does not answer is left alone for so long
_MOST_REMEMBERED = 10_000

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a review said, or why it said nothing; good until a time in seconds."""

    allowed: bool
    error: ApiError | None
    until: float


class Permit:
    """A caller's leave to look at `scope`, one namespace or all of them, for as long as `holds` says so."""

    def __init__(
        self, access: "Access", token: str | None, verb: str, scope: str | None, identity: str, expires: float
    ) -> None:
        self.scope = scope
        self.identity = identity
        self._access = access
        self._token = token
        self._verb = verb
        self._expires = expires
        self._asked = access.monotonic()

    async def holds(self) -> bool:
        """Asks again once a minute. An API server that does not answer has refused nothing."""
        now = self._access.monotonic()
        if now >= self._expires:
            return False
        if self._token is None or now < self._asked + _REMEMBERED_SECONDS:
            return True
        try:
            allowed = await self._access.may(self._token, self._verb, self.scope or "")
        except ApiError as error:
            return not error.is_refused
        self._asked = now
        return allowed


class Access:
    """`open_to_all` is the administrator's explicit `--auth none`: reading needs no token, and writing is refused
    unless `anonymous_writes` lets everybody write with the gateway's own rights.
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
        self._answers: dict[_Key, _Answer] = {}
        self._asking: dict[_Key, asyncio.Task[_Answer]] = {}
        self.open_to_all = open_to_all
        self.monotonic = monotonic
        self.reviews = 0
        """How often the API server was asked."""

    def writer(self, request: web.Request) -> str | None:
        """The token that a write acts with; None means the gateway's own. Raises Problem."""
        if not self.open_to_all:
            return bearer(request)
        if self._anonymous_writes:
            return None
        detail = "this gateway was started with --auth none, which is read-only; use kubectl to change things"
        raise Problem(403, "Forbidden", detail)

    def token(self, request: web.Request) -> str | None:
        """The caller's own token, for a read that the API server itself is to judge; None where callers need none."""
        return None if self.open_to_all else bearer(request)

    async def readable(self, request: web.Request, verb: str, namespace: str | None) -> str | None:
        """The namespace that the call may see, or None for all of them. Raises Problem (401, 403), ApiError.

        Who may not read everywhere and names no namespace is shown the default one.
        """
        return namespace if self.open_to_all else await self._scope(bearer(request), verb, namespace)

    async def permit(
        self, request: web.Request, token: str | None, verb: str, namespace: str | None, expires: float = math.inf
    ) -> Permit:
        """The same for what goes on for longer. Raises Problem (401, 403), ApiError."""
        if self.open_to_all:
            return Permit(self, None, verb, namespace, request.remote or "", math.inf)
        token = token or bearer(request)
        scope = await self._scope(token, verb, namespace)
        return Permit(self, token, verb, scope, _identity(token), expires)

    async def may(self, token: str, verb: str, namespace: str) -> bool:
        """Whether the token's account may do `verb` in `namespace`, "" being everywhere. Raises ApiError."""
        key = (_digest(token), verb, namespace)
        answer = self._answers.get(key)
        if answer is None or answer.until <= self.monotonic():
            if key not in self._asking:
                self._asking[key] = asyncio.create_task(self._ask(key, token))
            answer = await asyncio.shield(self._asking[key])
        if answer.error is not None:
            raise answer.error.with_traceback(None)
        return answer.allowed

    async def _scope(self, token: str, verb: str, namespace: str | None) -> str | None:
        if await self.may(token, verb, ""):
            return namespace
        asked = namespace or self._default_namespace
        if await self.may(token, verb, asked):
            return asked
        raise Problem(403, "Forbidden", f"this token may not {verb} {PLURAL}.{GROUP} in namespace {asked}")

    async def _ask(self, key: _Key, token: str) -> _Answer:
        self.reviews += 1
        begun = self.monotonic()
        try:
            answer = _Answer(await self._review(key, token), None, begun + _REMEMBERED_SECONDS)
        except ApiError as error:
            refused = error.is_refused
            answer = _Answer(
                allowed=False, error=error, until=begun + (_REMEMBERED_SECONDS if refused else _OUTAGE_SECONDS)
            )
        finally:
            del self._asking[key]
        self._remember(key, answer)
        return answer

    async def _review(self, key: _Key, token: str) -> bool:
        _, verb, namespace = key
        attributes = {"group": GROUP, "resource": PLURAL, "verb": verb, "namespace": namespace}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        return bool((await self._api.create(_REVIEWS, review, token=token))["status"].get("allowed"))

    def _remember(self, key: _Key, answer: _Answer) -> None:
        """The oldest answers make room: they are the first to be asked for anew anyway."""
        self._answers.pop(key, None)
        while len(self._answers) >= _MOST_REMEMBERED:
            del self._answers[next(iter(self._answers))]
        self._answers[key] = answer


def bearer(request: web.Request) -> str:
    """Raises Problem (401) that says how to get a token."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or not token.isascii():
        raise unauthorized()
    return token.strip()


def _identity(token: str) -> str:
    """Whose token it is. Read without verifying, because the API server has just accepted it; an account may have
    many tokens, which are told apart only where they are no JSON Web Tokens.
    """
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return f"{claims['iss']} {claims['sub']}"
    except (ValueError, LookupError, TypeError, RecursionError):
        return _digest(token)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
