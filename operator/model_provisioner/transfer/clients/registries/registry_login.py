"""Logs in to an OCI registry as it asks for it, and keeps what requests are sent with.

Called by `registry`. Sources: distribution, spec/auth/token.md and oauth.md; RFC 9110, 11. A registry says by a
challenge which token it wants, and from which server: what it says is used as it is, because the names of services and
scopes are its own. Requests for manifests and blobs belong to `registry`.

A login goes to the registry, if it is for it, and to the token server that the registry names, if that has TLS or may
have the login itself: a registry could ask for the password itself (Basic), so a server that it trusts learns no more.
An identity token goes to a token server only.
A challenge of a host that the registry redirects to is not answered.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlencode

from model_provisioner.domain.credentials.challenges import Challenge, challenges
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import (
    AccessDenied,
    AddressNotAllowed,
    ProvisionError,
    SourceUnavailable,
    UnsupportedSource,
)
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.transfer.clients.registries.registry_answers import Token, parse_token
from model_provisioner.transfer.clients.registries.registry_replies import Registry, Replies
from model_provisioner.transfer.http.client import Client, Reply

_MAX_TOKEN_BYTES = 256 * 1024
_MAX_REALM = 2048
_MAX_KEPT = 8
"""A reply may still show a token that has been replaced. A client sends few: a token is valid for a minute or more."""
_CLIENT = "model-provisioner"
_REFUSES_GRANT = frozenset({400, 401, 403})  # RFC 6749, 5.2: 400 for a refresh token that is not valid any more
_KNOWS_NO_GRANT = frozenset({404, 405})  # distribution, spec/auth/oauth.md: a server without OAuth 2


class Session:
    """What requests are sent with: nothing, until the registry asks for it. `credentials` are sent as they may be.

    `wall` is the time in seconds since the epoch.
    """

    def __init__(
        self, client: Client, registry: Registry, credentials: Credentials | None, wall: Callable[[], float]
    ) -> None:
        self._client = client
        self._registry = registry
        self._wall = wall
        permitted = credentials if credentials and registry.may_have(credentials) else None
        self._login = permitted.login_at(registry.named) if permitted else None
        self._credentials = permitted
        self._sent: deque[str] = deque(maxlen=_MAX_KEPT)
        if permitted and permitted.token:
            self._sent.append(f"Bearer {permitted.token}")
        self.expires: float | None = None
        """Of what is sent, in seconds since the epoch; None if it does not expire."""
        authenticated = self._login is not None or bool(self._sent)
        self.replies = Replies(registry, authenticated=authenticated, wall=wall)
        self.logins = 0
        """How many challenges were answered. A registry may give the same token twice."""
        self._logging_in = asyncio.Lock()

    @property
    def headers(self) -> dict[str, str]:
        """What the next request is sent with."""
        return {"Authorization": self._sent[-1]} if self._sent else {}

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown if the registry sends it back, besides the credentials themselves.

        The tokens that were replaced are among it: the reply to an earlier request may have them.
        """
        login = [self._login.basic] if self._login and self._login.basic else []
        return tuple(value.partition(" ")[2] for value in (*reversed(self._sent), *login))

    def can_log_in(self, refused: Reply, logins: int) -> bool:
        """Whether the registry itself asks for a login that it was not just sent; a token may have expired.

        `logins` is the number of them when the refused request was sent.
        """
        new = not self._sent or logins != self.logins or self.expires is not None
        return new and refused.origin == self._registry.origin

    async def log_in(self, refused: Reply, logins: int) -> None:
        """Answers the challenge of `refused`. Raises its error if that cannot be done.

        Requests that run in parallel are refused together when their token expires. The first one logs in, and the
        others use its token. `logins` is as for `can_log_in`.
        """
        async with self._logging_in:
            if logins == self.logins:
                await self._answer(refused)
                self.logins += 1

    async def _answer(self, refused: Reply) -> None:
        ways = {way.scheme: way for way in reversed(challenges(refused.headers.get("WWW-Authenticate", "")))}
        bearer = ways.get("bearer")
        if bearer is not None and "realm" in bearer.parameters:
            obtained = self._wall()
            token = await self._token(bearer)
            self._sent.append(f"Bearer {token.value}")
            self.expires = obtained + token.seconds
        elif "basic" in ways and self._login and self._login.basic:
            self._sent.append(self._login.basic)
        elif "basic" in ways and self._login:
            raise AccessDenied(
                f"{self._registry.origin} wants a user name and a password for {self._registry.subject}, and the login "
                f"for {self._registry.named} is an identity token: put a password into the Secret"
            )
        else:
            raise self.replies.error(refused)

    async def _token(self, challenge: Challenge) -> Token:
        asked = {name: challenge.parameters[name] for name in ("service", "scope") if name in challenge.parameters}
        realm = self._realm(challenge.parameters["realm"])
        async with await self._ask_for_token(realm, asked) as reply:
            if reply.status != 200:
                raise self._token_error(reply)
            body = await self.replies.body(reply, _MAX_TOKEN_BYTES)
            return self.replies.checked(reply, lambda: parse_token(body))

    async def _ask_for_token(self, realm: str, asked: dict[str, str]) -> Reply:
        login = self._login
        if login and login.identity_token:
            grant = {"grant_type": "refresh_token", "client_id": _CLIENT, "refresh_token": login.identity_token}
            return await self._client.post(realm, {**grant, **asked})
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(asked)}" if asked else realm
        return await self._client.get(url, {"Authorization": login.basic} if login and login.basic else {}, None)

    def _token_error(self, reply: Reply) -> ProvisionError:
        if self._login and self._login.identity_token:
            told = f"{reply.origin} answered {reply.status} when it was sent the identity token of the Secret"
            if reply.status in _REFUSES_GRANT:
                return AccessDenied(
                    f"{told}: it is wrong or expired; log in again, and put the new one into the Secret"
                )
            if reply.is_redirect or reply.status in _KNOWS_NO_GRANT:
                return UnsupportedSource(
                    f"{told}, so it exchanges none there: put a user name and a password, or an access token as the "
                    "password, into the Secret"
                )
        return self.replies.error(reply, "a token for ")

    def _realm(self, realm: str) -> str:
        """Raises an error if it is no URL, or one that the login must not be sent to."""
        registry = self._registry
        origin = None
        with suppress(AddressNotAllowed):
            origin = Origin.of(realm)
        if origin is None or "#" in realm or len(realm) > _MAX_REALM:
            raise SourceUnavailable(
                f"{registry.origin} names no address of a token server when asked for {registry.subject}: check the "
                "registry, and whether a proxy answers in its place"
            )
        safe = origin.scheme == "https" or origin == registry.origin
        if self._login and not safe and not (self._credentials and self._credentials.permits(origin)):
            raise AccessDenied(
                f"{registry.origin} sends to {origin} for a token of {registry.subject}, which is not encrypted: the "
                "login is not sent there"
            )
        return realm
