"""The two origins as web applications: routes, and middlewares for the log, scripted failures and errors.

Called by `server`.
"""

import asyncio
import itertools

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tests.support.hub.access import Refusal, Refused
from tests.support.hub.api import Api
from tests.support.hub.content import Content, content_error
from tests.support.hub.faults import Fail, Where
from tests.support.hub.log import Origin
from tests.support.hub.modelscope import ModelScopeApi
from tests.support.hub.resolve import Resolve
from tests.support.hub.state import EXCHANGE, State

_QUOTAS: dict[Where, int] = {"api": 500, "resolve": 3000}


def api_application(state: State) -> web.Application:
    steps = [_recorded(state, "api"), _hub_headers(), _refusals, _failures(state), _moved(state)]
    application = web.Application(middlewares=steps)
    application.add_routes([*Api(state).routes(), *Resolve(state).routes(), *ModelScopeApi(state).routes()])
    return application


def content_application(state: State) -> web.Application:
    application = web.Application(middlewares=[_recorded(state, "content"), _failures(state)])
    application.add_routes(Content(state).routes())
    return application


def _recorded(state: State, origin: Origin) -> Middleware:
    @web.middleware
    async def record(request: web.Request, handler: Handler) -> web.StreamResponse:
        exchange = state.log.open(origin, request)
        request[EXCHANGE] = exchange
        try:
            response = await handler(request)
        except web.HTTPException as error:
            exchange.status = error.status
            raise
        except ConnectionError:
            raise asyncio.CancelledError from None  # the client has gone: aiohttp would log a traceback
        else:
            exchange.status = response.status
            return response
        finally:
            state.log.close(exchange)

    return record


def _failures(state: State) -> Middleware:
    @web.middleware
    async def fail(request: web.Request, handler: Handler) -> web.StreamResponse:
        failure = state.faults.failure(_where(request), request.path, state.log.content_running)
        return await handler(request) if failure is None else _scripted(failure)

    return fail


def _moved(state: State) -> Middleware:
    @web.middleware
    async def redirect(request: web.Request, handler: Handler) -> web.StreamResponse:
        """A relative 307 for a repository that was renamed, or is spelled in other letter case."""
        name = "/".join((request.match_info.get("owner", ""), request.match_info.get("name", "")))
        moved_to = state.repositories.moved_to(name)
        if moved_to is None:
            return await handler(request)
        location = str(request.rel_url).replace(f"/{name}", f"/{moved_to}", 1)
        return web.Response(status=307, headers={"Location": location})

    return redirect


def _scripted(failure: Fail) -> web.Response:
    if failure.body:
        return web.Response(status=failure.status, headers=failure.headers, body=failure.body)
    if failure.where == "content":
        response = content_error(failure.status, "Scripted", "as scripted")
    else:
        response = _error(Refusal(failure.status, None, "as scripted"))
    response.headers.update(failure.headers)
    return response


def _where(request: web.Request) -> Where:
    if request[EXCHANGE].origin == "content":
        return "content"
    return "resolve" if "/resolve/" in request.path or request.path.startswith("/api/resolve-cache/") else "api"


def _hub_headers() -> Middleware:
    numbers = itertools.count(1)

    @web.middleware
    async def add(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Adds a request id, and the rate limit headers that the real hub sends with every answer."""
        response = await handler(request)
        if not response.prepared:
            kind = _where(request)
            bucket, quota = "resolvers" if kind == "resolve" else "api", _QUOTAS[kind]
            response.headers.setdefault("X-Request-Id", f"Root=1-{next(numbers):08x}")
            response.headers.setdefault("RateLimit", f'"{bucket}";r={quota - 1};t=300')
            response.headers.setdefault("RateLimit-Policy", f'"fixed window";"{bucket}";q={quota};w=300')
        return response

    return add


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as refused:
        return _error(refused.refusal)


def _error(refusal: Refusal) -> web.Response:
    headers = {"X-Error-Message": refusal.message, **refusal.headers}
    if refusal.code is not None:
        headers["X-Error-Code"] = refusal.code
    return web.json_response({"error": refusal.message}, status=refusal.status, headers=headers)
