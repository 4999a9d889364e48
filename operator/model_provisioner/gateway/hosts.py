"""Refuses requests to host names that are not the gateway's own, if it asks callers for no token. Called by `app`.

A web page can bind its own name to the gateway's address (DNS rebinding). Then a browser inside the network lets the
page read and write here as if the gateway were the page's own server. The browser sends the page's name as `Host`.
An IP address can't be bound in this way. A client that sends no `Host` is no browser.
"""

from collections.abc import Callable, Collection
from ipaddress import ip_address

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from model_provisioner.gateway.problems import Problem


def is_own_host(host: str, allowed: Collection[str]) -> bool:
    """Whether a `Host` header (RFC 9110, section 7.2) is an IP address, localhost, or in `allowed`.

    The port does not matter, because `kubectl port-forward` chooses any. `*.example.com` allows the names below it.
    """
    name = _name(host)
    if name == "localhost" or name.endswith(".localhost") or _is_address(name):
        return True
    return any(name == own or (own.startswith("*.") and name.endswith(own[1:])) for own in allowed)


def check(allowed: Collection[str], is_exempt: Callable[[str], bool]) -> Middleware:
    """`is_exempt` is true for the paths of probes and metrics, which programs of the cluster ask for."""
    names = {_name(own) for own in allowed}

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = request.headers.get("Host")
        if host and not is_exempt(request.path) and not is_own_host(host, names):
            detail = (
                f"the gateway asks for no token, so it answers only at its own names, and {_name(host)[:253]!r} is "
                "none of them: use another address, or let the administrator add this name to gateway.allowedHosts "
                "(--allowed-host)"
            )
            raise Problem(421, "MisdirectedRequest", detail)
        return await handler(request)

    return refuse


def _name(host: str) -> str:
    """Without port, brackets and the dot at the end, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
