"""Lists of the HTTP API: encoded once per download, and cut into pages that stay in step while things change.

A page ends at a place in the order of creation, not at a number: what is deleted or created meanwhile
moves nothing else from one page to another.
"""

import base64
import json
from collections.abc import Callable, Sequence

from aiohttp import web

from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.gateway.api.documents import Page
from model_provisioner.gateway.board import place
from model_provisioner.gateway.problems import Problem


def listing(
    key: str, chosen: Sequence[ModelDownload], page: Page, encode: Callable[[ModelDownload], bytes]
) -> web.Response:
    """`{key: [...]}`, with `continue` where there is more. Raises Problem (400) for a `continue` that we never gave."""
    after = _place_of(page.continue_) if page.continue_ is not None else None
    rest = [one for one in chosen if place(one) > after] if after else chosen
    shown = rest[: page.limit]
    more = b',"continue":"%b"' % _token(shown[-1]) if len(shown) < len(rest) else b""
    entries = b",".join(encode(one) for one in shown)
    body = b'{"%b":[%b]%b}' % (key.encode(), entries, more)
    return web.Response(body=body, content_type="application/json")


def _token(last: ModelDownload) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(place(last)).encode())


def _place_of(token: str) -> tuple[str, str, str]:
    try:
        time, namespace, name = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise Problem(400, "InvalidRequest", "continue: is not one that a list has answered with") from None
    return str(time), str(namespace), str(name)
