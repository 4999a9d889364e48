"""What a source is asked with, and the origins it may be sent to. The controller reads Secrets; `transfer` sends.

How the keys of a Secret become one of these is decided in `domain.network.secret_keys`.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from model_provisioner.domain.network.addresses import Origin

_SHORTEST_VALUE = 8  # a shorter value of a query is a word such as `sp=r`, and not what makes it secret


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
    """A login at the registry `origin` (`https://docker.io` for Docker Hub)."""

    origin: str
    username: str = field(repr=False)
    password: str = field(repr=False)
    identity_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """They may be sent to `origins` (`https://host:port`) only.

    `token` is a bearer token, `username` and `password` are for Basic, `headers` are sent as they are, and `query` is
    appended to the address, without a question mark. `aws` signs, and `logins` are for OCI registries. `ambient`: the
    process that asks a bucket signs with the key that its pod has (`domain.network.ambient`), as `aws`.
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
            pair = f"{self.username or ''}:{self.password or ''}"
            sent["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return sent

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
