"""`/openapi.json`: the HTTP API described in OpenAPI 3.1, made from the very documents that handlers read and write."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from model_provisioner import __version__
from model_provisioner.gateway.api import documents as docs

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/{model}"
_JSON = "application/json"
_PROBLEM = {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(model="ProblemDocument")}}}
_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": "A Kubernetes token; `kubectl create token -n NAMESPACE SERVICEACCOUNT` prints one.",
}
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
    "newest state only: `started`, `progress`, `complete` (with `path`), `error` and, with the same data, `failed` "
    "(with `error`), `deleted`. Their data is a Download."
)


@dataclass(frozen=True, slots=True)
class _Call:
    """One operation: what it reads and what it answers by status, a model, or text for a stream, or nothing."""

    method: str
    path: str
    name: str
    summary: str
    query: type[docs.Input]
    answers: Mapping[int, type[BaseModel] | str | None]
    body: type[docs.Input] | None = None
    more_parameters: tuple[Schema, ...] = ()
    headers: Mapping[str, Schema] = field(default_factory=dict)


_CALLS = (
    _Call(
        "post",
        "/v1/models/download",
        "startDownload",
        "Start a download, or meet the one that is there",
        docs.Scoped,
        {200: docs.Accepted, 202: docs.Accepted},
        body=docs.DownloadRequest,
        headers=_LOCATION,
    ),
    _Call(
        "get",
        "/v1/models/download/progress",
        "streamProgress",
        "Watch downloads as they go",
        docs.StreamQuery,
        {200: _EVENTS, 204: None},
        more_parameters=(_LAST_EVENT_ID,),
    ),
    _Call(
        "post",
        "/v1/models/download/progress/ticket",
        "issueTicket",
        "Get a ticket that opens event streams for an hour",
        docs.Scoped,
        {201: docs.IssuedTicket},
    ),
    _Call(
        "get",
        "/v1/models/downloads",
        "listDownloads",
        "List active downloads, or all of them",
        docs.DownloadsQuery,
        {200: docs.DownloadList},
    ),
    _Call(
        "get",
        "/v1/models/downloads/{id}",
        "getDownload",
        "Look at one download",
        docs.Scoped,
        {200: docs.Download},
        more_parameters=(_ID,),
    ),
    _Call(
        "get",
        "/v1/models/downloads/{id}/details",
        "describeDownload",
        "Conditions and events of one download",
        docs.Scoped,
        {200: docs.Details},
        more_parameters=(_ID,),
    ),
    _Call(
        "patch",
        "/v1/models/downloads/{id}",
        "changeDownload",
        "Pause, resume, or change the limits of a download",
        docs.Scoped,
        {200: docs.Download},
        body=docs.ChangeRequest,
        more_parameters=(_ID,),
    ),
    _Call(
        "delete",
        "/v1/models/downloads/{id}",
        "cancelDownload",
        "Cancel and delete a download; its reclaim policy decides about its files",
        docs.Scoped,
        {202: docs.Deleting},
        more_parameters=(_ID,),
    ),
    _Call("get", "/v1/models", "listModels", "List the models that are ready", docs.Page, {200: docs.ModelList}),
    _Call(
        "get",
        "/v1/models/local",
        "findModel",
        "Where a model is, if it is ready",
        docs.ModelQuery,
        {200: docs.ReadyModel},
    ),
    _Call(
        "delete",
        "/v1/models",
        "deleteModel",
        "Delete a model and its files",
        docs.ModelQuery,
        {202: docs.Deleting},
    ),
)


def openapi(base_path: str, *, with_tokens: bool) -> Schema:
    """The whole description. `with_tokens` says whether callers need one."""
    paths: dict[str, Schema] = {}
    for call in _CALLS:
        paths.setdefault(call.path, {})[call.method] = _operation(call)
    components: Schema = {"schemas": _schemas()}
    document: Schema = {
        "openapi": "3.1.0",
        "info": {"title": "Model provisioner", "version": __version__, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": base_path or "/"}],
        "paths": paths,
        "components": components,
    }
    if with_tokens:
        components["securitySchemes"] = {"token": _TOKEN}
        document["security"] = [{"token": []}]
    return document


def _operation(call: _Call) -> Schema:
    operation: Schema = {
        "operationId": call.name,
        "summary": call.summary,
        "parameters": [*call.more_parameters, *_parameters(call.query)],
        "responses": {str(status): _answer(call, status) for status in call.answers}
        | {"default": {"description": "What is wrong, and what to do.", "content": _PROBLEM}},
    }
    if call.body:
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": _reference(call.body)}}}
    return operation


def _answer(call: _Call, status: int) -> Schema:
    given = call.answers[status]
    if given is None:
        return {"description": "Everything has been told."}
    if isinstance(given, str):
        return {"description": given, "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    content = {_JSON: {"schema": _reference(given)}}
    return {"description": str(given.__doc__), "content": content, "headers": dict(call.headers)}


def _parameters(query: type[docs.Input]) -> list[Schema]:
    """The fields of a query; a null stands for one that is left out, which an address can't say."""
    schema = query.model_json_schema()
    required = schema.get("required", ())
    return [_parameter(name, given, required=name in required) for name, given in schema["properties"].items()]


def _parameter(name: str, given: Schema, *, required: bool) -> Schema:
    kinds = [kind for kind in given.get("anyOf", ()) if kind != {"type": "null"}]
    plain = {key: value for key, value in given.items() if key not in {"anyOf", "title", "default", "description"}}
    described = {"description": given["description"]} if "description" in given else {}
    schema = {**plain, **(kinds[0] if kinds else {})}
    return {"name": name, "in": "query", "required": required, "schema": schema, **described}


def _reference(model: type[BaseModel]) -> Schema:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _schemas() -> Schema:
    answers = {given for call in _CALLS for given in call.answers.values() if isinstance(given, type)}
    bodies = {call.body for call in _CALLS if call.body}
    kinds: list[type[BaseModel]] = sorted({*answers, *bodies, docs.ProblemDocument}, key=lambda kind: kind.__name__)
    reading = [(kind, "validation" if kind in bodies else "serialization") for kind in kinds]
    _, schema = models_json_schema(reading, ref_template=_REFERENCE)  # type: ignore[arg-type] # it knows both words
    definitions: Schema = schema["$defs"]
    return definitions
