"""The calls of the HTTP API: the one table of methods and paths.

`openapi` describes the calls from this table, and `app` makes the routes from it. A handler is joined to its call
by the `operation_id`. No handler is written here: `downloads`, `models`, `local` and `stream.progress` have them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel

from model_provisioner.gateway.api import documents, queries

Schema = dict[str, Any]
"""A piece of an OpenAPI document."""

_ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The `download_id`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9-]+$"},
}
_LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The id of the last event that the client has seen; what has ended since is told too.",
    "schema": {"type": "string", "maxLength": 64},
}
_LOCATION = {"Location": {"description": "The address of the download.", "schema": {"type": "string"}}}
_EVENTS = (
    "Server-sent events. First a snapshot, closed by `sync` with the ids of all downloads; then what changes, the "
    "newest state only: `started`, `progress`, `complete` (with `path`, and `projector` if there is one), `error` and, "
    "with the same data, `failed` (with `error`), `deleted`. Their data is a Download."
)


@dataclass(frozen=True, slots=True)
class Call:
    """One operation of the API.

    `query` is the document of its query parameters; `parameters` are its other parameters (path, headers), as OpenAPI
    writes them. `answers` has, by HTTP status, the document of the body, or the description of an event stream, or
    None for an empty body. `headers` are those of the answers. `allow_head` says whether HEAD is served beside GET.
    """

    method: str
    path: str
    operation_id: str
    summary: str
    query: type[queries.Input]
    answers: Mapping[int, type[BaseModel] | str | None]
    body: type[queries.Input] | None = None
    parameters: tuple[Schema, ...] = ()
    headers: Mapping[str, Schema] = field(default_factory=dict)
    allow_head: bool = True

    def route(self, handler: Handler) -> web.RouteDef:
        options = {"allow_head": self.allow_head} if self.method == "GET" else {}
        return web.route(self.method, self.path, handler, **options)


CALLS = (
    Call(
        "POST",
        "/v1/models/download",
        "startDownload",
        "Start a download, or meet the one that is there",
        queries.Scoped,
        {200: documents.Accepted, 202: documents.Accepted},
        body=queries.DownloadRequest,
        headers=_LOCATION,
    ),
    Call(
        "GET",
        "/v1/models/download/progress",
        "streamProgress",
        "Watch downloads as they go",
        queries.StreamQuery,
        {200: _EVENTS, 204: None},
        parameters=(_LAST_EVENT_ID,),
        allow_head=False,  # aiohttp runs the handler of GET for HEAD, and this one does not end
    ),
    Call(
        "POST",
        "/v1/models/download/progress/ticket",
        "issueTicket",
        "Get a ticket that opens event streams for an hour",
        queries.Scoped,
        {201: documents.IssuedTicket},
    ),
    Call(
        "GET",
        "/v1/models/downloads",
        "listDownloads",
        "List active downloads, or all of them",
        queries.DownloadsQuery,
        {200: documents.DownloadList},
    ),
    Call(
        "GET",
        "/v1/models/downloads/{id}",
        "getDownload",
        "Look at one download",
        queries.Scoped,
        {200: documents.Download},
        parameters=(_ID,),
    ),
    Call(
        "GET",
        "/v1/models/downloads/{id}/details",
        "describeDownload",
        "Conditions and events of one download",
        queries.Scoped,
        {200: documents.Details},
        parameters=(_ID,),
    ),
    Call(
        "PATCH",
        "/v1/models/downloads/{id}",
        "changeDownload",
        "Pause, resume, or change the limits of a download",
        queries.Scoped,
        {200: documents.Download},
        body=queries.ChangeRequest,
        parameters=(_ID,),
    ),
    Call(
        "DELETE",
        "/v1/models/downloads/{id}",
        "cancelDownload",
        "Cancel and delete a download; its reclaim policy decides about its files",
        queries.Scoped,
        {202: documents.Deleting},
        parameters=(_ID,),
    ),
    Call("GET", "/v1/models", "listModels", "List the models that are ready", queries.Page, {200: documents.ModelList}),
    Call(
        "GET",
        "/v1/models/local",
        "findModel",
        "Where a model is, if it is ready, or as soon as it is",
        queries.LocalQuery,
        {200: documents.ReadyModel},
    ),
    Call(
        "DELETE",
        "/v1/models",
        "deleteModel",
        "Delete a model and its files",
        queries.ModelQuery,
        {202: documents.Deleting},
    ),
)


def routes(handlers: Mapping[str, Handler], calls: Iterable[Call] = CALLS) -> list[web.RouteDef]:
    """One route for each of `calls`; `handlers` are by operation id.

    Raises ValueError if a call has no handler, or a handler has no call.
    """
    by_id = {call.operation_id: call for call in calls}
    unmatched = by_id.keys() ^ handlers.keys()
    if unmatched:
        raise ValueError(f"calls and handlers do not match: {', '.join(sorted(unmatched))}")
    return [call.route(handlers[operation_id]) for operation_id, call in by_id.items()]
