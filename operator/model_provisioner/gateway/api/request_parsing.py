"""Between HTTP and documents: reads requests, refusing what does not fit with the name of the field, and answers."""

from collections.abc import Mapping
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from model_provisioner.gateway.api.documents import Input
from model_provisioner.gateway.problems import Problem

T = TypeVar("T", bound=Input)


def query(kind: type[T], request: web.Request) -> T:
    """The query of a call. Raises Problem (400)."""
    twice = next((name for name in request.query if len(request.query.getall(name)) > 1), None)
    if twice is not None:
        raise Problem(400, "InvalidRequest", f"{twice}: is given more than once")
    try:
        return kind.model_validate(dict(request.query))
    except ValidationError as error:
        raise _refused(error, f"this call knows {', '.join(_names(kind))}") from None


async def body(kind: type[T], request: web.Request) -> T:
    """The JSON body of a call. Raises Problem (400, 415).

    The content type is insisted on because a browser sends no other page's JSON without asking us first (CORS).
    """
    if request.content_type != "application/json":
        raise Problem(415, "UnsupportedMediaType", "send the body as JSON, with `Content-Type: application/json`")
    try:
        return kind.model_validate_json(await request.read())
    except ValidationError as error:
        raise _refused(error, f"the body may have {', '.join(_names(kind))}") from None


def _refused(error: ValidationError, known: str) -> Problem:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"]) or "body"
    said = f"is not known; {known}" if first["type"] == "extra_forbidden" else first["msg"]
    return Problem(400, "InvalidRequest", f"{field}: {said}")


def _names(kind: type[Input]) -> list[str]:
    return [field.alias or name for name, field in kind.model_fields.items()]


def answer(
    document: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None, *, complete: bool = False
) -> web.Response:
    """A document as JSON; members that are not there are left out unless it is to be `complete`."""
    body = document.model_dump_json(by_alias=True, exclude_none=not complete)
    return web.Response(text=body, status=status, headers=headers, content_type="application/json")
