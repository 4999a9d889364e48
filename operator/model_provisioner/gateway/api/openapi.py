"""`/openapi.json`: the HTTP API described in OpenAPI 3.1, made from `calls` and from the documents that handlers use.

Called once by `app`. Nothing about a single call is written here.
"""

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from model_provisioner import __version__
from model_provisioner.gateway.api import documents, queries
from model_provisioner.gateway.api.calls import CALLS, Call, Schema

_REFERENCE = "#/components/schemas/{model}"
_JSON = "application/json"
_PROBLEM = {"application/problem+json": {"schema": {"$ref": _REFERENCE.format(model="ProblemDocument")}}}
_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": "A Kubernetes token; `kubectl create token -n NAMESPACE SERVICEACCOUNT` prints one.",
}


def openapi(base_path: str, *, with_tokens: bool) -> Schema:
    """The whole description. `with_tokens` says whether callers need one."""
    paths: dict[str, Schema] = {}
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call)
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


def _operation(call: Call) -> Schema:
    operation: Schema = {
        "operationId": call.operation_id,
        "summary": call.summary,
        "parameters": [*call.parameters, *_parameters(call.query)],
        "responses": {str(status): _answer(call, status) for status in call.answers}
        | {"default": {"description": "What is wrong, and what to do.", "content": _PROBLEM}},
    }
    if call.body:
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": _reference(call.body)}}}
    return operation


def _answer(call: Call, status: int) -> Schema:
    given = call.answers[status]
    if given is None:
        return {"description": "Everything has been told."}
    if isinstance(given, str):
        return {"description": given, "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    content = {_JSON: {"schema": _reference(given)}}
    return {"description": str(given.__doc__), "content": content, "headers": dict(call.headers)}


def _parameters(query: type[queries.Input]) -> list[Schema]:
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
    answers = {given for call in CALLS for given in call.answers.values() if isinstance(given, type)}
    bodies = {call.body for call in CALLS if call.body}
    kinds: list[type[BaseModel]] = sorted(
        {*answers, *bodies, documents.ProblemDocument}, key=lambda kind: kind.__name__
    )
    reading = [(kind, "validation" if kind in bodies else "serialization") for kind in kinds]
    _, schema = models_json_schema(reading, ref_template=_REFERENCE)  # type: ignore[arg-type] # it knows both words
    definitions: Schema = schema["$defs"]
    return definitions
