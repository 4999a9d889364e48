"""Finds the login for a repository in a configuration of docker or of podman, which have the same shape.

`transfer.cli.docker_login` calls it with the content of a file, and runs the helper that it names. What an entry says
is judged in `secret_keys`. Sources: docker/cli, cli/config/configfile (`GetAuthConfig`: a helper goes before the file)
and cli/config/credentials; docker-credential-helpers, README, "Development"; containers-auth.json(5), where a name may
have a path, and the longest one that fits counts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

_DOCKER_HUB = "docker.io"
_DOCKER_HUB_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_DOCKER_HUB_SERVER = "https://index.docker.io/v1/"
"""What docker asks its helpers for."""
_IDENTITY = "<token>"
"""The user name with which a helper says that its secret is an identity token."""

_FIELDS = ("auth", "username", "password", "identitytoken")

Json = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Found:
    """`entry` is the login of the file itself; None without one. `helper` names the program
    `docker-credential-<helper>` that has it instead, and is asked for `server`.
    """

    server: str
    helper: str | None
    entry: Json | None = field(repr=False)


def find(content: bytes, registry: str, repository: str) -> Found:
    """What the configuration has for `repository` at `registry` (host[:port]). Raises ValueError if it is none."""
    document = _object(_parsed(content))
    wanted = f"{_name(registry)}/{repository}"
    helper = _fitting(_object(document.get("credHelpers", {})), wanted) or document.get("credsStore") or None
    if helper is not None and not isinstance(helper, str):
        raise ValueError("the name of a credential helper is no text")
    entry = _object(_fitting(_object(document.get("auths", {})), wanted) or {})
    server = _DOCKER_HUB_SERVER if _name(registry) == _DOCKER_HUB else registry
    return Found(server, helper, {name: entry[name] for name in _FIELDS if entry.get(name)} or None)


def helpers_answer(content: bytes) -> Json:
    """The entry that a helper's answer to `get` means. Raises ValueError if it is no such answer."""
    answer = _object(_parsed(content))
    name, secret = answer.get("Username"), answer.get("Secret")
    if not isinstance(name, str) or not isinstance(secret, str) or not secret:
        raise ValueError("no login")
    return {"identitytoken": secret} if name == _IDENTITY else {"username": name, "password": secret}


def as_configuration(registry: str, entry: Json) -> bytes:
    """A configuration with this login alone."""
    return json.dumps({"auths": {_name(registry): entry}}).encode()


def _fitting(named: Json, wanted: str) -> object:
    """The value of the longest name that is `wanted` or above it."""
    fitting = [name for name in named if f"{wanted}/".startswith(f"{_name(name)}/")]
    return named[max(fitting, key=lambda name: len(_name(name)))] if fitting else None


def _name(text: str) -> str:
    """`text` as host[:port][/path]. A name with a scheme is an address, whose path is that of the registry's API."""
    address = text.partition("://")[2]
    host, slash, path = address.partition("/")[0], "", ""
    if not address:
        host, slash, path = text.strip("/").partition("/")
    return f"{_DOCKER_HUB if host in _DOCKER_HUB_HOSTS else host}{slash}{path}"


def _parsed(content: bytes) -> object:
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - a file of another shape, not an error of ours
    return value
