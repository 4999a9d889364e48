"""Who may read what: the API server is asked on the caller's behalf, with the caller's own token.

A SelfSubjectAccessReview cluster-wide first, then for one namespace; the answer is remembered for a
minute. Writes are not judged here: they go to the API server as the caller.
"""

import hashlib
import time
from collections.abc import Callable

from aiohttp import web

from model_provisioner.gateway.problems import Problem, unauthorized
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.resource import GROUP, PLURAL

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_REMEMBERED_SECONDS = 60.0
_MOST_REMEMBERED = 10_000


class Access:
    """`open_to_all` is the administrator's explicit `--auth none`: reading needs no token, writing is refused."""

    def __init__(
        self,
        api: KubeApi,
        default_namespace: str,
        *,
        open_to_all: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = api
        self._default_namespace = default_namespace
        self._open_to_all = open_to_all
        self._monotonic = monotonic
        self._answers: dict[tuple[str, str, str], tuple[bool, float]] = {}

    def writer(self, request: web.Request) -> str:
        """The token that a write acts with. Raises Problem."""
        if self._open_to_all:
            detail = "this gateway was started with --auth none, which is read-only; use kubectl to change things"
            raise Problem(403, "Forbidden", detail)
        return _token(request)

    async def readable(self, request: web.Request, verb: str, namespace: str | None) -> str | None:
        """The namespace that the call may see, or None for all of them. Raises Problem (401, 403).

        Who may not read everywhere and names no namespace is shown the default one.
        """
        if self._open_to_all:
            return namespace
        token = _token(request)
        if await self._may(token, verb, ""):
            return namespace
        asked = namespace or self._default_namespace
        if await self._may(token, verb, asked):
            return asked
        raise Problem(403, "Forbidden", f"this token may not {verb} {PLURAL}.{GROUP} in namespace {asked}")

    async def _may(self, token: str, verb: str, namespace: str) -> bool:
        key = (hashlib.sha256(token.encode()).hexdigest(), verb, namespace)
        now = self._monotonic()
        if key in self._answers and self._answers[key][1] > now:
            return self._answers[key][0]
        attributes = {"group": GROUP, "resource": PLURAL, "verb": verb, "namespace": namespace}
        review = await self._api.create(
            _REVIEWS,
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            },
            token=token,
        )
        allowed = bool(review["status"].get("allowed"))
        self._remember(key, allowed, now)
        return allowed

    def _remember(self, key: tuple[str, str, str], allowed: bool, now: float) -> None:
        if len(self._answers) >= _MOST_REMEMBERED:
            self._answers = {known: answer for known, answer in self._answers.items() if answer[1] > now}
        if len(self._answers) < _MOST_REMEMBERED:
            self._answers[key] = (allowed, now + _REMEMBERED_SECONDS)


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or not token.isascii():
        raise unauthorized()
    return token.strip()
