"""Where a repository of an OCI registry is, and how its replies become values or errors.

Called by `registry` and `registry_login`, which send the requests. What is in a body is read by `registry_answers`,
what a status means is decided in `domain.refusals.http_errors`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import ProvisionError, SourceUnavailable, UnsupportedSource
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.refusals.http_errors import http_error
from model_provisioner.domain.refusals.hub_errors import HubRequest
from model_provisioner.transfer.clients.bodies import Malformed, TooLarge, no_answer_of, read_body
from model_provisioner.transfer.clients.registries.registry_answers import UnknownManifest
from model_provisioner.transfer.http.client import Reply

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


class Replies:
    """Reads replies to requests for `registry`. `authenticated`: the job has a login that may be sent there.

    `wall` is the time in seconds since the epoch.
    """

    def __init__(self, registry: Registry, *, authenticated: bool, wall: Callable[[], float]) -> None:
        self._registry = registry
        self._authenticated = authenticated
        self._wall = wall

    async def body(self, reply: Reply, most: int) -> bytes:
        """At most `most` bytes. Raises SourceUnavailable for a web page, UnsupportedSource for more."""
        if reply.is_web_page:
            raise self._malformed(reply, "a web page")
        try:
            return await read_body(reply, most, most)
        except Malformed as error:
            raise self._malformed(reply, str(error)) from None
        except TooLarge as error:
            raise self._unsupported(reply, error) from None

    def checked(self, reply: Reply, read: Callable[[], T]) -> T:
        """What `read` returns. Raises SourceUnavailable and UnsupportedSource for what it raises of a body."""
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

    def error(self, reply: Reply, before: str = "") -> ProvisionError:
        """What the status of `reply` means. `before` stands in the message before the subject."""
        subject = f"{before}{self._registry.subject}"
        request = HubRequest(subject, str(reply.origin), self._authenticated)
        return http_error(reply.status, reply.headers, request, self._wall())
