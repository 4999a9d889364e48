"""Decides which servers an object may name as `spec.endpoint`, and what the administrator's own ones are.

A path on an origin can be another hub than the origin itself: on the public hub, every file that a user uploads lies
at such a path, so a repository can hold the answers of a hub. Therefore an endpoint is compared as a whole. Called by
`controller.reconcile.attempt`; which addresses may be connected to is decided in `addresses`, which endpoint each
source has by default in `domain.refs.refs`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.network.addresses import HostPort, Origin, parse_endpoint

_NAMED = re.compile(r"\s*([A-Za-z0-9+.-]+)=(.*)", re.DOTALL)
_BARE = "hf"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """`own` are the operator's endpoints, by the scheme of the refs; `listed` are the others. All are normalised.

    `hosts` are the hosts that may be connected to. The URL of such a host without a path is an endpoint too, unless it
    is on the origin of the operator's own one: there, the host is listed for that.
    """

    own: Mapping[str, str]
    listed: tuple[str, ...] = ()
    hosts: tuple[HostPort, ...] = ()

    def choose(self, scheme: str, wanted: str | None) -> str:
        """The normalised URL of the endpoint that `wanted` names (None: the operator's own) for refs of `scheme`.

        Raises AddressNotAllowed if it is neither the operator's own nor listed.
        """
        own = self.own[scheme]
        if wanted is None:
            return own
        try:
            url = parse_endpoint(wanted)
        except ValueError as error:
            raise AddressNotAllowed(f"`endpoint`: {error}") from None
        if url == own or url in self.listed:
            return url
        origin = Origin.of(url)
        if urlsplit(url).path or origin == Origin.of(own):
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


def parse_named_endpoint(text: str, schemes: Iterable[str]) -> tuple[str, str]:
    """The scheme and the normalised URL in `SCHEME=URL`; a bare URL is that of `hf`. `schemes` have an endpoint.

    Raises ValueError with a message for users.
    """
    match = _NAMED.fullmatch(text)
    scheme, url = (match[1], match[2]) if match else (_BARE, text)
    known = tuple(schemes)
    if scheme not in known:
        raise ValueError(f"{scheme[:20]!r} has no endpoint that can be set: write SCHEME=URL with {', '.join(known)}")
    return scheme, parse_endpoint(url)


def named_endpoints(texts: Iterable[str], schemes: Iterable[str]) -> dict[str, str]:
    """The endpoints in `texts`, by scheme. Raises ValueError also if a scheme is there twice."""
    known, found = tuple(schemes), dict[str, str]()
    for scheme, url in (parse_named_endpoint(text, known) for text in texts):
        if scheme in found:
            raise ValueError(f"two endpoints for {scheme}: name one")
        found[scheme] = url
    return found
