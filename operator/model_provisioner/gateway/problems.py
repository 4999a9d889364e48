"""The errors of the HTTP API: problem documents (RFC 9457) with the same reasons as the conditions of the object.

Handlers raise `Problem`. `middleware` makes a response of it, and of every other error.
"""

import logging
from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler

from model_provisioner.domain.errors import ProvisionError
from model_provisioner.kube.client import ApiError

_LOG = logging.getLogger(__name__)
_LOGIN = (
    "send a Kubernetes token as `Authorization: Bearer …`; "
    "`kubectl create token -n NAMESPACE SERVICEACCOUNT` prints one"
)


class Problem(Exception):
    """`reason` is one CamelCase word, `detail` is for people; `more` has further members of the document."""

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.headers = headers or {}
        self.more = more or {}

    def response(self) -> web.Response:
        document = {"type": self.reason, "title": self.reason, "status": self.status, "detail": self.detail}
        return web.json_response(
            {**document, **self.more},
            status=self.status,
            headers=dict(self.headers),
            content_type="application/problem+json",
        )


def unauthorized(detail: str = _LOGIN) -> Problem:
    return Problem(401, "Unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answers every error with a problem document; an unexpected error is logged and is a 500."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except ApiError as error:
        return _from_api(error).response()
    except ProvisionError as error:
        return Problem(400, error.reason, error.message).response()
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _from_http(error).response()
    except Exception:  # noqa: BLE001 -- the edge where a bug becomes an answer
        resource = request.match_info.route.resource  # its pattern: the path itself may hold anything
        _LOG.exception("%s %s", request.method, resource.canonical if resource else "at an unknown path")
        return Problem(500, "InternalError", "a bug of the gateway; its log has the details").response()


def _from_api(error: ApiError) -> Problem:
    """An error of the API server, with its status and message."""
    if error.is_unauthorized:
        return unauthorized()
    if error.is_unanswered:
        return Problem(503, "ApiServerUnavailable", error.message, headers={"Retry-After": "5"})
    headers = {"Retry-After": str(int(error.retry_after))} if error.retry_after else {}
    return Problem(error.status, error.reason or "Refused", error.message, headers=headers)


def _from_http(error: web.HTTPException) -> Problem:
    """An error of aiohttp itself: an unknown path, a method that is not served, a body that is too long."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    reason = str(error.reason).title().replace(" ", "")
    return Problem(error.status, reason, error.text or error.reason, headers=headers)
