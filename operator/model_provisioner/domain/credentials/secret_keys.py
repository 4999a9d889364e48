"""Reads credentials from the keys of a Secret, or of a file with the same keys. Which ones a source takes says its ref.

`controller.reconcile.credentials` and `transfer.cli.fetch` call `read`. Values are judged here: what is no credential
is refused with a message that never shows it. Which hosts a credential may be sent to is decided by the callers.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from model_provisioner.domain.credentials.credentials import AwsKeys, Credentials, RegistryLogin
from model_provisioner.domain.network.addresses import Origin, parse_host_port

MAX_VALUE = 4096
"""Characters of one value. Common servers accept a header of 8 KiB."""
_MAX_LOGINS = 100
OPAQUE = "Opaque"
_DOCKER_JSON = "kubernetes.io/dockerconfigjson"
_HEADER = "header."
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_FORBIDDEN_HEADERS = frozenset(
    {"host", "range", "if-range", "if-match", "accept-encoding", "connection", "content-length", "transfer-encoding"}
)
"""The request itself has them, or they say where it ends."""
AWS_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Keys of a Secret, and variables of a person's environment."""
_DOCKER_HUB = frozenset({"index.docker.io", "registry-1.docker.io", "docker.io"})
Data = Mapping[str, bytes]


class UnusableSecret(Exception):
    """The text says what is wrong with which key, as a clause that follows the name of the Secret."""


@dataclass(frozen=True, slots=True)
class SecretKind:
    """One way to log in. `keys` are shown to users; `read` returns None if the Secret has none of them.
    `secret_type` is the type that a Secret with it has in Kubernetes.
    """

    keys: str
    read: Callable[[Data, Credentials], Credentials | None]
    secret_type: str = OPAQUE


def read(data: Data, kinds: Sequence[SecretKind]) -> Credentials:
    """The credentials in `data`, for no host yet, except those that name their hosts. Raises UnusableSecret."""
    found = Credentials(None, ())
    for kind in kinds:
        found = kind.read(data, found) or found
    if found == Credentials(None, ()):
        keys = ", ".join(kind.keys for kind in kinds)
        which = "has no key" if len(kinds) == 1 else "has none of the keys"
        raise UnusableSecret(f"{which} {keys}: put the credential there")
    if found.token and found.password is not None:
        raise UnusableSecret("has a token and a password, and only one can be sent: remove one of them")
    return found


def _token(*keys: str) -> Callable[[Data, Credentials], Credentials | None]:
    def read_token(data: Data, found: Credentials) -> Credentials | None:
        key = next((key for key in keys if data.get(key)), None)
        return None if key is None else replace(found, token=_word(key, data[key]))

    return read_token


def _basic(data: Data, found: Credentials) -> Credentials | None:
    if not data.get("username") and not data.get("password"):
        return None
    username, password = _line("username", data.get("username", b"")), _line("password", data.get("password", b""))
    if ":" in username:
        raise UnusableSecret("has a colon in `username`, which HTTP does not allow (RFC 7617)")
    return replace(found, username=username, password=password)


def _headers(data: Data, found: Credentials) -> Credentials | None:
    headers = {}
    for key in sorted(key for key in data if key.startswith(_HEADER)):
        name = key.removeprefix(_HEADER)
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _FORBIDDEN_HEADERS:
            raise UnusableSecret(f"has the key {key[:80]!a}, which names no header that may be set")
        headers[name] = _line(key, data[key])
    return replace(found, headers=headers) if headers else None


def _query(data: Data, found: Credentials) -> Credentials | None:
    if not data.get("query"):
        return None
    query = _word("query", data["query"]).removeprefix("?")
    if not query or "#" in query:
        raise UnusableSecret("has a `query` that is no query: write what stands after the ? of the address")
    return replace(found, query=query)


def _aws(data: Data, found: Credentials) -> Credentials | None:
    keys = AWS_KEYS
    if not any(data.get(key) for key in keys[:2]):
        return None
    if missing := [key for key in keys[:2] if not data.get(key)]:
        raise UnusableSecret(f"has no key {missing[0]}: an access key has an id and a secret")
    key_id, secret = (_word(key, data[key]) for key in keys[:2])
    session = _word(keys[2], data[keys[2]]) if data.get(keys[2]) else None
    return replace(found, aws=AwsKeys(key_id, secret, session))


def _docker(data: Data, found: Credentials) -> Credentials | None:
    content = data.get(".dockerconfigjson") or data.get("config.json")
    if not content:
        return None
    import json  # noqa: PLC0415 - no other source needs it

    try:
        auths = json.loads(content)["auths"]
        logins = tuple(_login(host, auth) for host, auth in auths.items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UnusableSecret("has no configuration of docker in `.dockerconfigjson`: make it by docker login") from None
    if len(logins) > _MAX_LOGINS:
        raise UnusableSecret(f"has more than {_MAX_LOGINS} registries in `.dockerconfigjson`")
    return replace(found, logins=logins, origins=tuple(login.origin for login in logins))


def _login(registry: str, auth: Mapping[str, Any]) -> RegistryLogin:
    """Raises ValueError and the like. Source: docker/cli, cli/config/configfile; `auth` is Base64 of name:password."""
    username, password = str(auth.get("username") or ""), str(auth.get("password") or "")
    if auth.get("auth"):
        username, _, password = base64.b64decode(auth["auth"], validate=True).decode().partition(":")
    token = auth.get("identitytoken") or None
    host = registry.partition("://")[2] if "://" in registry else registry
    named = parse_host_port(host.partition("/")[0])
    name = "docker.io" if named.host in _DOCKER_HUB else named.host
    origin = str(Origin("https", name, named.port or 443))
    return RegistryLogin(origin, _printable(username), _printable(password), token and _printable(str(token)))


def _printable(text: str) -> str:
    if not text.isprintable() or len(text) > MAX_VALUE:
        raise ValueError
    return text


def _word(key: str, value: bytes) -> str:
    text = _line(key, value)
    if " " in text:
        raise UnusableSecret(_no_token(key))
    return text


def _line(key: str, value: bytes) -> str:
    try:
        text = value.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable() or len(text) > MAX_VALUE:
        raise UnusableSecret(_no_token(key))
    return text


def _no_token(key: str) -> str:
    return f"has a value of `{key}` that is not a token (printable ASCII, one word, at most {MAX_VALUE} characters)"


def decoded(values: Mapping[str, str]) -> Data:
    """The `data` of a Secret. A value that is not Base64 becomes a byte that no credential has."""
    found = {}
    for key, value in values.items():
        try:
            found[key] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            found[key] = b"\0"
    return found


TOKEN = SecretKind("`token`", _token("token"))
HF_TOKEN = SecretKind("`token` (or HF_TOKEN)", _token("token", "HF_TOKEN"))
MODELSCOPE_TOKEN = SecretKind("`token` (or MODELSCOPE_API_TOKEN)", _token("token", "MODELSCOPE_API_TOKEN"))
BASIC = SecretKind("`username` and `password`", _basic)
HEADERS = SecretKind("`header.<Name>`", _headers)
QUERY = SecretKind("`query`", _query)
AWS = SecretKind("`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`", _aws)
DOCKER = SecretKind("`.dockerconfigjson`", _docker, _DOCKER_JSON)
