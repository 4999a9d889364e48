"""Allows the web pages of configured origins to call the API (WHATWG Fetch, "CORS protocol"). Used by `app`.

Without configured origins no CORS header is sent. Credentials are never allowed, because there are no cookies: a page
sends a token of its own.
"""

from collections.abc import Awaitable, Callable, Collection

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

_ALLOWED = {
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID",
    "Access-Control-Max-Age": "600",
}


def preflight(origins: Collection[str]) -> Middleware:
    """Answers the preflight request, which a browser sends before a call from another origin."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if is_preflight and request.headers.get("Origin") in origins:
            return web.Response(status=204, headers=_ALLOWED)
        return await handler(request)

    return answer


def allow(origins: Collection[str]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A signal handler (`on_response_prepare`) that allows the origin of the request to read the response.

    It adds the headers to event streams too. Other origins than `origins` get only `Vary`.
    """

    async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Vary"] = "Origin"
        origin = request.headers.get("Origin")
        if origin in origins:
            response.headers["Access-Control-Allow-Origin"] = str(origin)
            response.headers["Access-Control-Expose-Headers"] = "Location, Retry-After"

    return add_headers
