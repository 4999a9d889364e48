"""`/v1/models/download` and `/v1/models/downloads`: start, list, look at and cancel downloads.

Reads come from the board; writes go to the API server with the caller's own token.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.naming import object_name
from model_provisioner.domain.refs import parse_lenient
from model_provisioner.domain.stream import has_ended, state_of
from model_provisioner.gateway.access import Access
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.problems import Problem
from model_provisioner.gateway.views import download_view
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import (
    API_VERSION,
    KIND,
    RECONCILE_AT,
    collection_path,
    object_path,
    parse,
    parse_spec,
)

_RETRY_AFTER = {"Retry-After": "5"}
_DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_WATCH_SECONDS = 2.0
_STRICT = "?fieldValidation=Strict"  # else the API server drops a misspelt field and says nothing


class DownloadRequest(BaseModel):
    """The body of a POST; `spec` has further fields of the resource's spec."""

    model_config = ConfigDict(extra="forbid")

    model_ref: str = Field(max_length=1024)
    namespace: str | None = Field(default=None, max_length=63, pattern=_DNS_LABEL)
    name: str | None = Field(default=None, max_length=63)
    spec: dict[str, Any] = Field(default_factory=dict)


class Downloads:
    """`watched` are the namespaces that are served; empty means all."""

    def __init__(
        self, api: KubeApi, board: Board, access: Access, default_namespace: str, watched: Sequence[str]
    ) -> None:
        self._api = api
        self._board = board
        self._access = access
        self._default_namespace = default_namespace
        self._watched = watched

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/models/download", self.start),
            web.get("/v1/models/downloads", self.index),
            web.get("/v1/models/downloads/{id}", self.show),
            web.delete("/v1/models/downloads/{id}", self.cancel),
        ]

    async def start(self, request: web.Request) -> web.Response:
        """Creates the object as the caller; the same ref again meets the same object."""
        token = self._access.writer(request)
        wanted = await _body(request)
        ref = parse_lenient(wanted.model_ref)
        namespace, name = wanted.namespace or self._default_namespace, wanted.name or object_name(ref)
        if self._watched and namespace not in self._watched:
            served = ", ".join(self._watched)
            raise Problem(400, "InvalidRequest", f"namespace: {namespace} is not served here, only {served}")
        if "modelRef" in wanted.spec:
            raise Problem(400, "InvalidRequest", "spec.modelRef: the model is named by model_ref alone")
        spec = {**wanted.spec, "modelRef": str(ref)}
        document = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        try:
            created = parse(await self._api.create(collection_path(namespace) + _STRICT, document, token=token))
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            return await self._join(namespace, name, spec, token)
        await self._board.await_known(created.uid, _WATCH_SECONDS)  # so that its Location can be asked for at once
        return _accepted(created)

    async def _join(self, namespace: str, name: str, spec: Mapping[str, Any], token: str) -> web.Response:
        """The object is there: the same download if it wants the same, and tried again if it has given up."""
        path = object_path(namespace, name)
        try:
            document = await self._api.get(path, token=token)
        except ApiError as error:
            raise _being_deleted(namespace, name) if error.status == 404 else error from None
        found = parse(document)
        if found.deleting:
            raise _being_deleted(namespace, name)
        differing = _differing(document["spec"], spec)
        if differing:
            detail = f"{namespace}/{name} exists with another {', '.join(differing)}: delete it, or choose another name"
            raise Problem(409, "AlreadyExists", detail, more={"download_id": found.uid, "differing": differing})
        if found.status.ready:
            return _complete(found)
        if found.status.stalled:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            await self._api.patch(path, {"metadata": {"annotations": {RECONCILE_AT: now}}}, token=token)
        return _accepted(found)

    async def index(self, request: web.Request) -> web.Response:
        """The active ones; `?all=true` for those that have ended too."""
        scope = await self._access.readable(request, "list", request.query.get("namespace"))
        everything = request.query.get("all") == "true"
        chosen = [one for one in self._board.all(scope) if everything or not has_ended(one)]
        return web.json_response({"downloads": [self._view(one) for one in chosen]})

    async def show(self, request: web.Request) -> web.Response:
        return web.json_response(self._view(await self._find(request)))

    async def cancel(self, request: web.Request) -> web.Response:
        """Deletes the object as the caller, whatever its reclaim policy is."""
        token = self._access.writer(request)
        download = await self._find(request)
        precondition = {"preconditions": {"uid": download.uid}}
        await self._api.delete(object_path(download.namespace, download.name), precondition, token=token)
        return web.json_response({"download_id": download.uid, "status": "deleting"}, status=202)

    def _view(self, download: ModelDownload) -> dict[str, Any]:
        return download_view(download, self._board.queue_position(download.uid))

    async def _find(self, request: web.Request) -> ModelDownload:
        """The download in the path, if the caller may see it."""
        download = self._board.get(request.match_info["id"])
        namespace = download.namespace if download else request.query.get("namespace")
        scope = await self._access.readable(request, "list", namespace)
        if download is None or scope not in {None, download.namespace}:
            raise Problem(404, "NotFound", f"there is no download {request.match_info['id']}")
        return download


async def _body(request: web.Request) -> DownloadRequest:
    """Raises Problem naming the field that is wrong."""
    try:
        return DownloadRequest.model_validate_json(await request.read())
    except ValidationError as error:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"]) or "body"
        raise Problem(400, "InvalidRequest", f"{field}: {problem['msg']}") from None


def _differing(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The fields in which `wanted` asks for something else; a quantity may be spelt in two ways."""
    now = parse_spec(existing)
    return sorted(key for key in wanted if parse_spec({**existing, key: wanted[key]}) != now)


def _being_deleted(namespace: str, name: str) -> Problem:
    detail = f"{namespace}/{name} is being deleted; ask again when it is gone"
    return Problem(409, "BeingDeleted", detail, headers=_RETRY_AFTER)


def _accepted(download: ModelDownload) -> web.Response:
    return web.json_response(
        {
            "download_id": download.uid,
            "status": "started",
            "namespace": download.namespace,
            "name": download.name,
            "state": state_of(download),
        },
        status=202,
        headers={"Location": f"/v1/models/downloads/{download.uid}"},
    )


def _complete(download: ModelDownload) -> web.Response:
    return web.json_response(
        {
            "download_id": download.uid,
            "status": "complete",
            "namespace": download.namespace,
            "name": download.name,
            "state": state_of(download),
            "path": download.status.model.path if download.status.model else None,
        },
        headers={"Location": f"/v1/models/downloads/{download.uid}"},
    )
