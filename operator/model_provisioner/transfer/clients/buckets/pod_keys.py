"""Gets the access key of the pod itself from the Security Token Service or from the agent on its node, and keeps it.

`transfer.sources.s3` asks for it when a request says that it may be used. Which of both is asked is decided in
`domain.credentials.ambient`, what an error means in `domain.refusals.session_errors`. The key is kept in memory until
shortly before its session is over. The token file is read each time, because the kubelet exchanges its content.
Source: docs.aws.amazon.com/STS/latest/APIReference, AssumeRoleWithWebIdentity; docs.aws.amazon.com/sdkref, "Container
credential provider".
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from model_provisioner.domain.credentials.ambient import PodIdentity, Provider, WebIdentity
from model_provisioner.domain.credentials.credentials import AwsKeys
from model_provisioner.domain.credentials.secret_keys import AWS, AWS_KEYS, UnusableSecret, read
from model_provisioner.domain.credentials.signed_urls import refresh_before
from model_provisioner.domain.errors import AccessDenied, ProvisionError
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.refusals.session_errors import session_error
from model_provisioner.transfer.clients.bodies import Malformed, TooLarge, no_answer_of, read_body
from model_provisioner.transfer.clients.buckets.xml_answers import read_xml
from model_provisioner.transfer.http.client import Client, Reply
from model_provisioner.transfer.http.echoes import redacted_errors

_MAX_BODY = 64 * 1024
_MAX_TOKEN = 20_000
"""Characters of a token: the limit of AssumeRoleWithWebIdentity."""
_LONGEST_SESSION = 7 * 24 * 3600.0
_EARLY_SECONDS = 300.0
"""A key is replaced so long before its session is over: addresses that were signed with it end with the session."""
_NO_KEY = "no access key with a session"
_SUBJECT = "an access key for this pod"
_REUSED_SECONDS = 60.0
_MOST_GIVEN = 4
"""How many keys are remembered. One that was replaced may have signed a request that is not answered yet."""
_ANSWER = frozenset({"AssumeRoleWithWebIdentityResponse"})
_ERROR = frozenset({"ErrorResponse"})
_NAMES = ("AccessKeyId", "SecretAccessKey", "SessionToken")


class PodKeys:
    """The key that `provider` gives, over `client`. `wall` is in seconds since the epoch."""

    def __init__(self, provider: Provider, client: Client, wall: Callable[[], float]) -> None:
        origin = Origin.of(provider.url)
        self._provider = provider
        self._origin = origin
        self._client = client.reaching(origin, direct=isinstance(provider, PodIdentity))
        self._wall = wall
        self._lock = asyncio.Lock()
        self._keys: AwsKeys | None = None
        self._given: tuple[AwsKeys, ...] = ()
        self._failures = 0
        self._obtained = self._replace_at = 0.0
        self._failure: ProvisionError | None = None

    async def get(self) -> AwsKeys:
        """The key. Callers that wait at the same time share one question and its answer, also if that is an error.

        Raises AccessDenied, and what `Client.get` raises.
        """
        failures = self._failures
        async with self._lock:
            if self._keys is not None and self._wall() < self._replace_at:
                return self._keys
            if self._failure and self._failures > failures:
                raise self._failure
            try:
                return self._kept(await self._ask())
            except ProvisionError as error:
                self._failure, self._failures = error, self._failures + 1
                raise

    def _kept(self, keys: AwsKeys) -> AwsKeys:
        self._obtained = self._wall()
        self._replace_at = refresh_before(keys.expires or 0.0, self._obtained, _EARLY_SECONDS)
        self._keys, self._given = keys, (*self._given, keys)[-_MOST_GIVEN:]
        return keys

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown if a server sends it back; also of keys that were refused or replaced."""
        sent = (secret for keys in self._given for secret in (keys.secret, keys.session_token))
        return tuple(filter(None, sent))

    def refused(self, keys: AwsKeys) -> None:
        """A request that was signed with `keys` failed. Another key is asked for next time, at most once a minute."""
        if keys is self._keys and self._wall() >= self._obtained + _REUSED_SECONDS:
            self._keys = None

    async def _ask(self) -> AwsKeys:
        token = await asyncio.to_thread(_token, self._provider.token_file)
        with redacted_errors(lambda: self._client.redaction(None, [token])):
            async with await self._send(token) as reply:
                try:
                    return await self._read(reply)
                except (Malformed, TooLarge) as error:
                    kind = "a Security Token Service" if self._is_service else "an agent that gives pods their keys"
                    raise no_answer_of(kind, self._origin, str(error), _SUBJECT, "environment") from None

    @property
    def _is_service(self) -> bool:
        return isinstance(self._provider, WebIdentity)

    async def _send(self, token: str) -> Reply:
        """A POST, because the address of a GET, which would have the token, is written into logs."""
        match self._provider:
            case WebIdentity(url, role, session_name):
                form = {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": role}
                form |= {"RoleSessionName": session_name, "WebIdentityToken": token}
                return await self._client.post(url, form)
            case PodIdentity(url):
                return await self._client.get(url, {"Authorization": token}, None)

    async def _read(self, reply: Reply) -> AwsKeys:
        body = await read_body(reply, _MAX_BODY, _MAX_BODY)
        if reply.status != 200:
            code = _code(body) if self._is_service else ""
            raise session_error(reply.status, code, reply.headers, str(self._origin), self._wall())
        texts = _from_xml(body) if self._is_service else _from_json(body)
        return _keys_of(texts, self._wall())


def _token(file: str) -> str:
    """Raises AccessDenied: the administrator has to correct the pod."""
    try:
        with Path(file).open("rb") as opened:
            token = opened.read(_MAX_TOKEN + 1).decode("ascii").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no ASCII"
        raise AccessDenied(f"the token of this pod, {file}, can't be read: {why}") from None
    if not token or len(token) > _MAX_TOKEN or not token.isprintable():
        raise AccessDenied(f"the token of this pod, {file}, is empty, or no token: check what mounts it")
    return token


def _keys_of(texts: Mapping[str, str], now: float) -> AwsKeys:
    """The key, whose values are judged like those of a Secret. Raises Malformed."""
    values = {key: texts.get(name, "").encode() for key, name in zip(AWS_KEYS, _NAMES, strict=True)}
    try:
        keys = read(values, (AWS,)).aws
        expires = datetime.fromisoformat(texts.get("Expiration", "").strip()).timestamp()
    except (UnusableSecret, ValueError, OverflowError):
        raise Malformed(_NO_KEY) from None
    if keys is None or keys.session_token is None:
        raise Malformed(_NO_KEY)
    if not now < expires <= now + _LONGEST_SESSION:
        raise Malformed("an access key whose session is over, or never ends")
    return replace(keys, expires=expires)


def _code(body: bytes) -> str:
    try:
        return read_xml(body, _ERROR).texts.get("Error/Code", "").strip()
    except Malformed:
        return ""


def _from_xml(body: bytes) -> Mapping[str, str]:
    """The texts of `Credentials`. Raises Malformed."""
    path = "AssumeRoleWithWebIdentityResult/Credentials/"
    return {name.removeprefix(path): text for name, text in read_xml(body, _ANSWER).texts.items()}


def _from_json(body: bytes) -> Mapping[str, str]:
    """The strings of the object, with the name of the token that the other provider has. Raises Malformed."""
    import json  # noqa: PLC0415 - no worker that moves bytes asks for a key

    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Malformed("no JSON object")
    texts = {name: value for name, value in found.items() if isinstance(value, str)}
    return {**texts, "SessionToken": texts.get("Token", "")}
