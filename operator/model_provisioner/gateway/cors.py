"""Lets the web pages of configured origins call the API (WHATWG Fetch, "CORS protocol"). Without any, nothing is said.

There are no cookies here, so credentials are never allowed: a page has to bring a token of its own.
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
    """Answers the question that a browser asks before a call from another origin."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if asks and request.headers.get("Origin") in origins:
            return web.Response(status=204, headers=_ALLOWED)
        return await handler(request)

    return answer


def allow(origins: Collection[str]) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """Marks every answer, streams too, as readable for the origin that asked, if it is one of `origins`."""

    async def mark(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Vary"] = "Origin"
        origin = request.headers.get("Origin")
        if origin in origins:
            response.headers["Access-Control-Allow-Origin"] = str(origin)
            response.headers["Access-Control-Expose-Headers"] = "Location, Retry-After"

    return mark
