"""The proxy that an administrator names, as a value whose credentials show up nowhere.

Parsed by whoever reads the flags; used by `transfer.client`, the only one that connects.
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
    """`origin` is what to connect to; user name and password, if any, are for it alone."""

    origin: Origin
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def parse_proxy(url: str) -> Proxy:
    """`http://HOST:PORT` or `https://HOST:PORT`, with `USER:PASSWORD@` before the host if it must be.

    Raises ValueError with a message for people, which never holds what was given.
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
