"""What a source is asked with, and the origins it may be sent to. The controller reads Secrets; `transfer` sends.

How the keys of a Secret become one of these is decided in `domain.credentials.secret_keys`.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.network.addresses import Origin, parse_host_port

_HTTPS_PORT = 443
_SHORTEST_VALUE = 8  # a shorter value of a query is a word such as `sp=r`, and not what makes it secret


def origins_of_hosts(listed: str) -> tuple[str, ...]:
    """The origins in a list of hosts, as in the annotation of a Secret.

    `host[:port]` means https; a host without TLS is written as http://host[:port]. Raises ValueError with a message for
    users.
    """
    return tuple(map(_origin, listed.replace(",", " ").split()))


def _origin(text: str) -> str:
    if text.startswith("http://"):
        try:
            return str(Origin.of(text))
        except AddressNotAllowed as error:
            raise ValueError(error.message) from None
    host = parse_host_port(text)
    return str(Origin("https", host.host, host.port or _HTTPS_PORT))


@dataclass(frozen=True, slots=True)
class AwsKeys:
    """An access key of Amazon's, which signs and is not sent.

    `session_token` belongs to a temporary one, and `expires` says when its session is over, in seconds since the epoch.
    """

    key_id: str
    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """A login at the registry `origin` (`https://docker.io` for Docker Hub).

    `identity_token` is sent to the token server of the registry in place of the password (distribution,
    spec/auth/oauth.md: a refresh token).
    """

    origin: str
    username: str = field(repr=False)
    password: str = field(repr=False)
    identity_token: str | None = field(default=None, repr=False)

    @property
    def basic(self) -> str | None:
        """The value of `Authorization` with name and password; None for an identity token."""
        return None if self.identity_token else _basic(self.username, self.password)


@dataclass(frozen=True, slots=True)
class Credentials:
    """They may be sent to `origins` (`https://host:port`) only.

    `token` is a bearer token, `username` and `password` are for Basic, `headers` are sent as they are, and `query` is
    appended to the address, without a question mark. `aws` signs, and `logins` are for OCI registries. `ambient`: the
    process that asks a bucket signs with the key that its pod has (`domain.credentials.ambient`), as `aws`.
    """

    token: str | None = field(repr=False)
    origins: tuple[str, ...]
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: str | None = field(default=None, repr=False)
    aws: AwsKeys | None = None
    logins: tuple[RegistryLogin, ...] = ()
    ambient: bool = False

    def permits(self, origin: Origin) -> bool:
        """Whether `origin` is one of the origins. An answer of any other one may not choose what gets the token."""
        return origin in map(Origin.of, self.origins)

    @property
    def request_headers(self) -> dict[str, str]:
        """The header fields of a request to one of the origins (RFC 6750, 2.1; RFC 7617)."""
        sent = dict(self.headers)
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        elif self.username is not None or self.password is not None:
            sent["Authorization"] = _basic(self.username or "", self.password or "")
        return sent

    def login_at(self, registry: Origin) -> RegistryLogin | None:
        """The login at `registry`: `username` and `password`, else one of `logins`, which name hosts and no schemes."""
        if self.username is not None or self.password is not None:
            return RegistryLogin(str(registry), self.username or "", self.password or "")
        origins = ((login, Origin.of(login.origin)) for login in self.logins)
        return next((login for login, at in origins if (at.host, at.port) == (registry.host, registry.port)), None)

    def address(self, url: str) -> str:
        """`url` as it is requested at one of the origins: with `query`. Only a request line may have it.

        An address with a query of its own, to which a server has redirected, stays as it is: it may be signed.
        """
        return f"{url}?{self.query}" if self.query and "?" not in url else url

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text in it that must not be shown."""
        return tuple(filter(None, self._secrets()))

    def _secrets(self) -> Iterator[str | None]:
        yield from (self.token, self.password, *self.headers.values())
        if self.query:
            values = [value for _, value in parse_qsl(self.query)]
            yield from [value for value in values if len(value) >= _SHORTEST_VALUE] or [self.query]
        if self.aws:
            yield from (self.aws.secret, self.aws.session_token)
        for login in self.logins:
            yield from (login.password, login.identity_token)


def _basic(username: str, password: str) -> str:
    """RFC 7617, 2."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"
