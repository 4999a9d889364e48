"""Parses requests into `documents`, and makes JSON responses of them. Called by every handler.

A request that does not fit is a 400 that names the field.
"""

import asyncio
from collections.abc import Mapping
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from model_provisioner.gateway.api.queries import Input
from model_provisioner.gateway.problems import Problem

_BODY_SECONDS = 20.0
T = TypeVar("T", bound=Input)


def parse_query(kind: type[T], request: web.Request) -> T:
    """The query parameters of a request. Raises Problem (400)."""
    repeated = next((name for name in request.query if len(request.query.getall(name)) > 1), None)
    if repeated is not None:
        raise Problem(400, "InvalidRequest", f"{repeated}: is given more than once")
    try:
        return kind.model_validate(dict(request.query))
    except ValidationError as error:
        raise _invalid(error, f"this call knows {', '.join(_names(kind))}") from None


async def parse_body(kind: type[T], request: web.Request) -> T:
    """The JSON body of a request. Raises Problem (400, 408, 415), HTTPRequestEntityTooLarge.

    The content type is required, because a browser sends JSON of another origin only after a preflight request (CORS).
    """
    if request.content_type != "application/json":
        raise Problem(415, "UnsupportedMediaType", "send the body as JSON, with `Content-Type: application/json`")
    try:
        return kind.model_validate_json(await _read(request))
    except ValidationError as error:
        raise _invalid(error, f"the body may have {', '.join(_names(kind))}") from None


async def _read(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        detail = f"the body of this request did not arrive within {_BODY_SECONDS:g}s"
        raise Problem(408, "RequestTimeout", detail, headers={"Connection": "close"}) from None
    except web.RequestPayloadError:
        detail = "body: has wrong chunks, or is not in its `Content-Encoding`"
        raise Problem(400, "InvalidRequest", detail, headers={"Connection": "close"}) from None


def json_response(
    document: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None, *, with_nulls: bool = False
) -> web.Response:
    """A document as JSON. Members that are None are left out, or null if `with_nulls`."""
    body = document.model_dump_json(by_alias=True, exclude_none=not with_nulls)
    return web.Response(text=body, status=status, headers=headers, content_type="application/json")


def _invalid(error: ValidationError, known: str) -> Problem:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "body"
    reason = f"is not known; {known}" if first["type"] == "extra_forbidden" else first["msg"]
    return Problem(400, "InvalidRequest", f"{field}: {reason}")


def _names(kind: type[Input]) -> list[str]:
    return [field.alias or name for name, field in kind.model_fields.items()]
