"""Asks one repository of an OCI registry for manifests, and for what blobs are requested with.

Called by `oci` and `ollama`. How an answer is read is in `registry_answers`, what a status means in
`domain.refusals.http_errors`. Sources: distribution-spec 1.1, spec.md, "Pulling manifests" and "Pulling blobs";
distribution, spec/auth/token.md and oauth.md. A registry says by a challenge which token it wants, and from which
server: what it says is used as it is, because the names of services and scopes are its own. HEAD is not used: some
registries answer it otherwise than GET.

A login goes to the registry, if it is for it, and to the token server that the registry names, if that has TLS or may
have the login itself: a registry could ask for the password itself (Basic), so a server that it trusts learns no more.
An identity token goes to a token server only.
A challenge of a host that the registry redirects to is not answered.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlencode

from model_provisioner.domain.credentials.challenges import Challenge, challenges
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.download.ranges import ByteRange
from model_provisioner.domain.errors import (
    AccessDenied,
    AddressNotAllowed,
    DigestMismatch,
    ProvisionError,
    SourceUnavailable,
    UnsupportedSource,
)
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.refusals.http_errors import http_error
from model_provisioner.domain.refusals.hub_errors import HubRequest
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import PlannedFile
from model_provisioner.transfer.clients.bodies import ONE_BYTE, Malformed, TooLarge, no_answer_of, read_body
from model_provisioner.transfer.clients.registries.registry_answers import (
    MANIFEST_TYPES,
    Manifest,
    Token,
    UnknownManifest,
    parse_manifest,
    parse_token,
)
from model_provisioner.transfer.http.client import Client, Reply

MAX_MANIFEST_BYTES = 4 * 1024 * 1024
"""What registries take at least, and at most (distribution-spec, "Pushing manifests")."""
_MAX_TOKEN_BYTES = 256 * 1024
_MAX_REALM = 2048
_WHOLE, _PARTIAL = frozenset({200}), frozenset({200, 206})
_CLIENT = "model-provisioner"
_REFUSES_GRANT = frozenset({400, 401, 403})  # RFC 6749, 5.2: 400 for a refresh token that is not valid any more
_KNOWS_NO_GRANT = frozenset({404, 405})  # distribution, spec/auth/oauth.md: a server without OAuth 2
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Registry:
    """Where a repository is asked for. `url` is without a slash at its end, `subject` names the model in messages.

    `named` is the origin that credentials are for, which differs from that of `url` for Docker Hub.
    """

    url: str
    named: Origin
    repository: str
    subject: str

    @property
    def origin(self) -> Origin:
        return Origin.of(self.url)

    def may_have(self, credentials: Credentials) -> bool:
        """Whether they may be sent there. Without TLS, only if they are for that very address."""
        return credentials.permits(self.origin) or (self.origin.scheme == "https" and credentials.permits(self.named))


@dataclass(slots=True)
class _Session:
    """What requests are sent with: nothing, until the registry asks for it. `answered`: the registry has spoken HTTP.

    `expires` is in seconds since the epoch, None if it does not expire.
    """

    authorization: str | None = field(default=None, repr=False)
    expires: float | None = None
    answered: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": self.authorization} if self.authorization else {}


class RegistryClient:
    """`credentials` are sent as they may be. `wall` is the time in seconds since the epoch.

    Each method raises what `Client.get` raises and `http_error` returns, SourceUnavailable for an answer that does not
    have its shape, and UnsupportedSource for one that is too large or of an unknown kind.
    """

    def __init__(
        self,
        client: Client,
        registry: Registry,
        credentials: Credentials | None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._registry = registry
        self._wall = wall
        self._session = _Session()
        permitted = credentials if credentials and registry.may_have(credentials) else None
        self._login = permitted.login_at(registry.named) if permitted else None
        self._credentials = permitted
        if permitted and permitted.token:
            self._session.authorization = f"Bearer {permitted.token}"

    @property
    def answered(self) -> bool:
        """Whether the registry has answered a request at all."""
        return self._session.answered

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown if the registry sends it back, besides the credentials themselves."""
        sent = filter(None, (self._session.authorization, self._login.basic if self._login else None))
        return tuple(value.partition(" ")[2] for value in sent)

    def check_echo(self, files: Sequence[PlannedFile]) -> None:
        """Raises SourceUnavailable if a path has a token: paths are shown. Takes time for each of `files`."""
        if self._client.redaction(None, self.secrets).is_in("\n".join(file.path for file in files)):
            raise SourceUnavailable(
                f"{self._registry.origin} sent back a token that it had been sent, in the name of a file of "
                f"{self._registry.subject}: check the registry"
            )

    async def manifest(self, reference: str) -> Manifest:
        """The manifest that `reference` names, a tag or `sha256:<hex>`. Raises DigestMismatch if it is another one."""
        body, reply = await self._read(f"manifests/{reference}", {"Accept": ", ".join(MANIFEST_TYPES)})
        digest = Digest(hashlib.sha256(body).hexdigest())
        if ":" in reference and str(digest) != reference:
            raise DigestMismatch(
                f"{reply.origin} answers with the manifest {digest} when asked for {reference} of "
                f"{self._registry.subject}: a proxy's doing, or the registry is damaged"
            )
        content_type = reply.headers.get("Content-Type", "")
        return self._checked(reply, lambda: parse_manifest(body, content_type, digest))

    async def small_blob(self, digest: str) -> bytes:
        """The content of a blob, such as the configuration of a model. It is not compared with `digest`."""
        body, _ = await self._read(f"blobs/{digest}", {})
        return body

    async def checked_blob(self, digest: Digest, what: str) -> bytes:
        """The content of a small blob; `what` says in messages what it is. Raises DigestMismatch if it is another."""
        body, reply = await self._read(f"blobs/{digest}", {}, f"{what} of ")
        found = Digest(hashlib.sha256(body).hexdigest())
        if found != digest:
            raise DigestMismatch(
                f"{reply.origin} answers with {found} when asked for {digest}, {what} of {self._registry.subject}: a "
                "proxy's doing, or the registry is damaged"
            )
        return body

    async def blob_address(self, digest: Digest) -> Address:
        """Where the blob is, and what it is requested with. One byte of it is asked for to learn that."""
        url = self._url(f"blobs/{digest}")
        last = await self._headers(url)
        if last.status == 401 and self._can_log_in(last):
            await self._log_in(last)
        elif not (last.is_redirect or last.status in {200, 206}):
            raise self._error(last)
        return Address(url, self._session.headers, self._session.expires)

    async def _headers(self, url: str) -> Reply:
        return (await self._client.headers("GET", url, {**ONE_BYTE, **self._session.headers}, None))[-1]

    async def blob(self, digest: Digest, wanted: ByteRange) -> Reply:
        """The answer with `wanted` of a blob, or with the whole of it. The caller closes it."""
        return await self._open(f"blobs/{digest}", {"Range": wanted.header}, _PARTIAL)

    async def _read(self, path: str, headers: dict[str, str], what: str = "") -> tuple[bytes, Reply]:
        async with await self._open(path, headers, _WHOLE, what) as reply:
            return await self._body(reply, MAX_MANIFEST_BYTES), reply

    async def _open(self, path: str, headers: dict[str, str], good: frozenset[int], what: str = "") -> Reply:
        """The answer, whose status is one of `good`. The caller closes it. Errors have `what` before the subject."""
        url = self._url(path)
        reply = await self._client.get(url, {**headers, **self._session.headers}, None)
        self._session.answered = True
        if reply.status == 401 and self._can_log_in(reply):
            reply.close()
            await self._log_in(reply)
            reply = await self._client.get(url, {**headers, **self._session.headers}, None)
        if reply.status not in good:
            reply.close()
            raise self._error(reply, what)
        return reply

    def _can_log_in(self, reply: Reply) -> bool:
        """Whether the registry itself asks for a login that it was not just sent; a token may have expired."""
        new = self._session.authorization is None or self._session.expires is not None
        return new and reply.origin == self._registry.origin

    async def _log_in(self, refused: Reply) -> None:
        """Answers the challenge of `refused`. Raises its error if that cannot be done."""
        ways = {way.scheme: way for way in reversed(challenges(refused.headers.get("WWW-Authenticate", "")))}
        bearer = ways.get("bearer")
        if bearer is not None and "realm" in bearer.parameters:
            obtained = self._wall()
            token = await self._token(bearer)
            self._session.authorization = f"Bearer {token.value}"
            self._session.expires = obtained + token.seconds
        elif "basic" in ways and self._login and self._login.basic:
            self._session.authorization = self._login.basic
        elif "basic" in ways and self._login:
            raise AccessDenied(
                f"{self._registry.origin} wants a user name and a password for {self._registry.subject}, and the login "
                f"for {self._registry.named} is an identity token: put a password into the Secret"
            )
        else:
            raise self._error(refused)

    async def _token(self, challenge: Challenge) -> Token:
        asked = {name: challenge.parameters[name] for name in ("service", "scope") if name in challenge.parameters}
        realm = self._realm(challenge.parameters["realm"])
        async with await self._ask_for_token(realm, asked) as reply:
            if reply.status != 200:
                raise self._token_error(reply)
            body = await self._body(reply, _MAX_TOKEN_BYTES)
            return self._checked(reply, lambda: parse_token(body))

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
        return self._error(reply, "a token for ")

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

    def _url(self, path: str) -> str:
        return f"{self._registry.url}/v2/{self._registry.repository}/{path}"

    async def _body(self, reply: Reply, most: int) -> bytes:
        if reply.is_web_page:
            raise self._malformed(reply, "a web page")
        try:
            return await read_body(reply, most, most)
        except Malformed as error:
            raise self._malformed(reply, str(error)) from None
        except TooLarge as error:
            raise self._unsupported(reply, error) from None

    def _checked(self, reply: Reply, read: Callable[[], T]) -> T:
        try:
            return read()
        except Malformed as error:
            raise self._malformed(reply, str(error)) from None
        except (TooLarge, UnknownManifest) as error:
            raise self._unsupported(reply, error) from None

    def _malformed(self, reply: Reply, sent: str) -> SourceUnavailable:
        return no_answer_of("a registry", reply.origin, sent, self._registry.subject, check="address")

    def _unsupported(self, reply: Reply, what: Exception) -> UnsupportedSource:
        return UnsupportedSource(f"{reply.origin} answers with {what} when asked for {self._registry.subject}")

    def _error(self, reply: Reply, before: str = "") -> ProvisionError:
        subject = f"{before}{self._registry.subject}"
        authenticated = self._login is not None or (self._credentials is not None and bool(self._credentials.token))
        request = HubRequest(subject, str(reply.origin), authenticated)
        return http_error(reply.status, reply.headers, request, self._wall())
