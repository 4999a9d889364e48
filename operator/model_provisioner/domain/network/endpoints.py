"""Decides which hubs `spec.endpoint` may name.

A path on an origin can be another hub than the origin itself: on the public hub, every file that a user uploads lies
at such a path, so a repository can hold the answers of a hub. Therefore an endpoint is compared as a whole. Called by
`controller.reconcile.attempt`; which addresses may be connected to is decided in `addresses`.
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.network.addresses import HostPort, Origin, parse_endpoint


@dataclass(frozen=True, slots=True)
class Endpoints:
    """`own` is the operator's hub, `listed` are the others; all are normalised (`parse_endpoint`).

    `hosts` are the hosts that may be connected to. The URL of such a host without a path is a hub too, unless it is on
    the origin of `own`: there, the host is listed for the operator's hub.
    """

    own: str
    listed: tuple[str, ...] = ()
    hosts: tuple[HostPort, ...] = ()

    def choose(self, wanted: str | None) -> str:
        """The normalised URL of the hub that `wanted` names (None: the operator's own).

        Raises AddressNotAllowed if it is neither the operator's own nor listed.
        """
        if wanted is None:
            return self.own
        try:
            url = parse_endpoint(wanted)
        except ValueError as error:
            raise AddressNotAllowed(f"`endpoint`: {error}") from None
        if url == self.own or url in self.listed:
            return url
        origin = Origin.of(url)
        if urlsplit(url).path or origin == Origin.of(self.own):
            raise AddressNotAllowed(
                f"{url} is no hub that may be asked: ask the administrator to add it to allowedEndpoints "
                "(--allow-endpoint), or correct `endpoint`"
            )
        if not any(host.covers(origin.host, origin.port) for host in self.hosts):
            raise AddressNotAllowed(
                f"{origin} is no hub that may be asked: ask the administrator to add {origin.host}:{origin.port} to "
                "allowedHosts (--allow-host), or correct `endpoint`"
            )
        return url
