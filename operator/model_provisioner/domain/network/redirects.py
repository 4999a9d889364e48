"""Reads the target of a redirect from its `Location` header (RFC 9110, 10.2.2).

`transfer.http.client` calls this for each hop. Whether a connection to the target is allowed is decided in
`domain.network.addresses`, how many hops there may be in the client.
"""

from urllib.parse import quote, urljoin

from model_provisioner.domain.errors import AddressNotAllowed, SourceUnavailable
from model_provisioner.domain.network.addresses import Origin

_AS_WRITTEN = "".join(char for char in map(chr, range(0x21, 0x7F)) if char != "\\")
"""What stays as it is, because a signature may cover it. Everything else is percent-encoded, as by browsers."""


def redirect_target(url: str, location: str) -> str:
    """The absolute URL that `location` names in an answer from `url`. `location` was decoded as Latin-1.

    Raises SourceUnavailable if there is no such URL, and AddressNotAllowed if it is neither http nor https, or leads
    from https to http.
    """
    source = Origin.of(url)
    try:
        target = urljoin(url, quote(location.encode("latin-1", "replace"), safe=_AS_WRITTEN))
    except ValueError:
        raise SourceUnavailable(f"{source} redirects to a malformed address: check the endpoint") from None
    if source.scheme == "https" and Origin.of(target).scheme != "https":
        raise AddressNotAllowed(f"{source} redirects to {Origin.of(target)}, which is not encrypted: refused")
    return target
