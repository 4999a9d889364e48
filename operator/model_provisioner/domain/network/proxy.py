"""Parses the URL of a proxy into a value that never prints its credentials.

`proxy_file` and the flags call this; only `transfer.http` connects to the proxy.
"""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from model_provisioner.domain.errors import AddressNotAllowed
from model_provisioner.domain.network.addresses import Origin

PROXY_NEEDS_HOSTS = (
    "a proxy hides which addresses are connected to, so say which hosts may be fetched from: "
    "--allow-host huggingface.co:443 --allow-host '*.hf.co:443' for the public hub"
)


@dataclass(frozen=True, slots=True)
class Proxy:
    """The proxy to connect to at `origin`, and the user name and password that it gets, if any."""

    origin: Origin
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def parse_proxy(url: str) -> Proxy:
    """Parses `http://HOST:PORT` or `https://HOST:PORT`, with an optional `USER:PASSWORD@` before the host.

    Raises ValueError with a message for users, which never contains `url`.
    """
    try:
        parts = urlsplit(url)
        origin = Origin.of(url)
    except (AddressNotAllowed, ValueError):
        raise ValueError("the proxy's address is malformed: write http://HOST:PORT") from None
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError(f"the proxy's address has more than a host and a port: write {origin}")
    return Proxy(origin, _decoded(parts.username), _decoded(parts.password))


def _decoded(text: str | None) -> str | None:
    return None if text is None else unquote(text)
