"""The lists of the HTTP API, whole or in pages. Called by the handlers of `downloads` and `models`.

A page ends at a position in the order of creation, not at a number: a download that is created or deleted meanwhile
moves no other from one page to another.
"""

import base64
import json
from collections.abc import AsyncIterator, Callable, Sequence

from aiohttp import web

from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.gateway.api.queries import Page
from model_provisioner.gateway.board import sort_key
from model_provisioner.gateway.problems import Problem

_ENTRIES_OF_A_WRITE = 50


def list_response(
    key: str, downloads: Sequence[ModelDownload], page: Page, encode: Callable[[ModelDownload], bytes]
) -> web.Response:
    """`{key: [...]}`, and `continue` if there is another page.

    `downloads` are sorted by `sort_key`; `encode` makes the JSON of one. Raises Problem (400) if `page.continue_` is no
    token of ours.
    """
    after = _decode_token(page.continue_) if page.continue_ is not None else None
    rest = [download for download in downloads if sort_key(download) > after] if after else downloads
    shown = rest[: page.limit]
    more = b',"continue":"%b"' % _encode_token(shown[-1]) if len(shown) < len(rest) else b""
    entries = [encode(download) for download in shown]
    begin, end = b'{"%b":[' % key.encode(), b"]%b}" % more
    length = len(begin) + sum(map(len, entries)) + max(0, len(entries) - 1) + len(end)
    headers = {"Content-Length": str(length)}
    return web.Response(body=_written(begin, entries, end), headers=headers, content_type="application/json")


async def _written(begin: bytes, entries: Sequence[bytes], end: bytes) -> AsyncIterator[bytes]:
    """Joins a few at a time: a client that does not read must not cost a copy of the whole list."""
    yield begin
    for at in range(0, len(entries), _ENTRIES_OF_A_WRITE):
        yield (b"," if at else b"") + b",".join(entries[at : at + _ENTRIES_OF_A_WRITE])
    yield end


def _encode_token(last: ModelDownload) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(sort_key(last)).encode())


def _decode_token(token: str) -> tuple[str, str, str]:
    try:
        time, namespace, name = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise Problem(400, "InvalidRequest", "continue: is not one that a list has answered with") from None
    return str(time), str(namespace), str(name)
