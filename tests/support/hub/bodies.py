"""Sends a file or a range of it, piece by piece; applies the faults and rates to each piece.

Called by `content` for LFS files and by `resolve` for small ones.
"""

import asyncio
import re
from dataclasses import dataclass

from aiohttp import web

from tests.support.hub.pacing import Pacer
from tests.support.hub.repositories import StoredFile
from tests.support.hub.state import EXCHANGE, State

_PIECE = 1024 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True)
class Span:
    """Bytes `start` to `stop` (exclusive); `partial` is a 206."""

    start: int
    stop: int
    partial: bool


def requested_span(header: str | None, size: int) -> Span | None:
    """The span of a Range header; the whole file if there is none or it is not understood; None for a 416."""
    match = _RANGE.fullmatch(header or "")
    if match is None or match.groups() == ("", ""):
        return Span(0, size, partial=False)
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
    return Span(start, stop, partial=True) if start < stop else None


async def send_file(
    state: State,
    request: web.Request,
    file: StoredFile,
    etag: str,
    headers: dict[str, str],
    *,
    ranges: bool = True,
) -> web.StreamResponse:
    """Answers 200, 206, 304 or 416, with `etag` (unquoted) and `headers`; without `ranges`, the whole file."""
    headers = {**headers, "ETag": f'"{etag}"', "Accept-Ranges": "bytes", **state.faults.edge_headers(request.path)}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    span = requested_span(_range_header(state, request, headers["ETag"]) if ranges else None, file.size)
    if span is None:
        return web.Response(status=416, headers={**headers, "Content-Range": f"bytes */{file.size}"})
    response = web.StreamResponse(status=206 if span.partial else 200, headers=headers)
    response.content_length = span.stop - span.start
    response.content_type = "application/octet-stream"
    exchange = request[EXCHANGE]
    exchange.status = response.status
    if span.partial:
        exchange.range = (span.start, span.stop - 1)
        response.headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{file.size}"
    await response.prepare(request)
    if request.method != "HEAD":
        await _send_span(state, request, response, file, span)
    await response.write_eof()
    return response


def _range_header(state: State, request: web.Request, etag: str) -> str | None:
    if state.faults.ignores_ranges(request.path) or request.headers.get("If-Range", etag) != etag:
        return None
    return request.headers.get("Range")


async def _send_span(
    state: State, request: web.Request, response: web.StreamResponse, file: StoredFile, span: Span
) -> None:
    exchange, connection = request[EXCHANGE], Pacer()
    position = span.start
    while position < span.stop:
        rules = state.faults.of_body(request.path)
        for rule in rules:
            await rule.at(position, span.start, _transport(request))
        connection.rate = state.connection_rate
        largest = connection.largest_piece(state.pacer.largest_piece(_PIECE))
        edges = [edge for rule in rules if (edge := rule.edge(span.start)) is not None and edge > position]
        stop = min(span.stop, position + largest, *edges)
        data = file.read(position, stop)
        for rule in rules:
            data = rule.alter(position, data)
        await asyncio.gather(state.pacer.take(len(data)), connection.take(len(data)))
        exchange.bytes_sent += len(data)  # before the write, so that bytes that a client has read are counted
        if stop == span.stop:
            state.log.close(exchange)
        await response.write(data)
        position = stop


def _transport(request: web.Request) -> asyncio.Transport:
    if request.transport is None:
        raise ConnectionAbortedError("the client has gone")
    return request.transport
