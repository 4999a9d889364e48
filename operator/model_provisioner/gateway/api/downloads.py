"""`/v1/models/download` and `/v1/models/downloads`: starts, lists, shows, changes and cancels downloads.

Reads come from the board; writes go to the API server with the caller's own token.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from model_provisioner.domain.annotations import RECONCILE_AT
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.network.addresses import same_endpoint
from model_provisioner.domain.refs.object_names import object_name
from model_provisioner.domain.refs.refs import parse_lenient
from model_provisioner.domain.stream import has_ended, state_of
from model_provisioner.gateway.access import Authorizer
from model_provisioner.gateway.api.documents import Accepted, Deleting, Details, Download, EventDetail
from model_provisioner.gateway.api.lists import list_response
from model_provisioner.gateway.api.queries import ChangeRequest, DownloadRequest, DownloadsQuery, Scoped
from model_provisioner.gateway.api.request_parsing import json_response, parse_body, parse_query
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.problems import Problem
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import API_VERSION, KIND, collection_path, object_path, parse, parse_spec

_NOT_ALLOWED = frozenset({401, 403})
_RETRY_AFTER = {"Retry-After": "5"}
_STRICT = "?fieldValidation=Strict"  # otherwise the API server drops a misspelt field silently


class Downloads:
    """The handlers of the calls about downloads.

    `record_write` gets the object that a write has returned. `watched` are the namespaces that are served; empty means
    all. `base` is the path below which the API is served.
    """

    def __init__(
        self,
        api: KubeApi,
        board: Board,
        authorizer: Authorizer,
        record_write: Callable[[dict[str, Any]], None],
        default_namespace: str,
        watched: Sequence[str],
        base: str = "",
    ) -> None:
        self._api = api
        self._board = board
        self._authorizer = authorizer
        self._record_write = record_write
        self._default_namespace = default_namespace
        self._watched = watched
        self._base = base

    def handlers(self) -> dict[str, Handler]:
        """By operation id, see `calls`."""
        return {
            "startDownload": self.start_download,
            "listDownloads": self.list_downloads,
            "getDownload": self.get_download,
            "describeDownload": self.describe_download,
            "changeDownload": self.change_download,
            "cancelDownload": self.cancel_download,
        }

    async def start_download(self, request: web.Request) -> web.Response:
        """Creates the object as the caller. If it exists already, the answer is that object.

        Raises Problem (400, 401, 403, 409, 415), ApiError, InvalidRef, UnsupportedSource.
        """
        token = self._authorizer.write_token(request)
        query, body = parse_query(Scoped, request), await parse_body(DownloadRequest, request)
        ref = parse_lenient(body.model_ref)
        namespace = body.namespace or query.namespace or self._default_namespace
        name = body.name or object_name(ref)
        if self._watched and namespace not in self._watched:
            served = ", ".join(self._watched)
            raise Problem(400, "InvalidRequest", f"namespace: {namespace} is not served here, only {served}")
        _check_spec(body.spec)
        spec = {**body.spec, "modelRef": str(ref)}
        document = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        try:
            created = await self._api.create(collection_path(namespace) + _STRICT, document, token=token)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            return await self._join(namespace, name, spec, token)
        self._record_write(created)  # so that its Location can be read at once
        return self._accepted(parse(created))

    async def _join(self, namespace: str, name: str, spec: Mapping[str, Any], token: str | None) -> web.Response:
        """The object exists already. Answers with it if its spec is what is wanted, and lets a stalled one try again.

        Raises Problem (409), ApiError.
        """
        path = object_path(namespace, name)
        try:
            document = await self._api.get(path, token=token)
        except ApiError as error:
            raise _being_deleted(namespace, name) if error.is_not_found else error from None
        existing = parse(document)
        if existing.deleting:
            raise _being_deleted(namespace, name)
        differing = _differing(document["spec"], spec)
        if differing:
            detail = f"{namespace}/{name} exists with another {', '.join(differing)}: delete it, or choose another name"
            raise Problem(409, "AlreadyExists", detail, more={"download_id": existing.uid, "differing": differing})
        if existing.status.stalled and not existing.status.ready:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            await self._api.patch(path, {"metadata": {"annotations": {RECONCILE_AT: now}}}, token=token)
        return self._accepted(existing)

    async def list_downloads(self, request: web.Request) -> web.Response:
        """The active downloads; with `?all=true` also those that have ended.

        Raises Problem (400, 401, 403), ApiError.
        """
        query = parse_query(DownloadsQuery, request)
        namespace = await self._authorizer.readable_namespace(request, "list", query.namespace)
        downloads = [download for download in self._board.all(namespace) if query.all or not has_ended(download)]
        return list_response("downloads", downloads, query, self._encoded)

    async def get_download(self, request: web.Request) -> web.Response:
        return web.Response(body=self._encoded(await self._find(request)), content_type="application/json")

    async def describe_download(self, request: web.Request) -> web.Response:
        """The conditions from the board, and the Events from the API server if the caller may list them."""
        download = await self._find(request)
        events = await self._events(download, self._authorizer.caller_token(request))
        return json_response(Details.of(download, events), with_nulls=True)

    async def _events(self, download: ModelDownload, token: str | None) -> list[EventDetail] | None:
        """Newest first; None if the caller has no token, or may not list Events. Raises ApiError."""
        if token is None:
            return None
        selector = {"fieldSelector": f"involvedObject.uid={download.uid}"}
        try:
            listed = await self._api.get(f"/api/v1/namespaces/{download.namespace}/events", selector, token=token)
        except ApiError as error:
            if error.status in _NOT_ALLOWED:
                return None
            raise
        events = [EventDetail.of(item) for item in listed["items"]]
        return sorted(events, key=lambda event: event.last_seen or "", reverse=True)

    async def change_download(self, request: web.Request) -> web.Response:
        """Changes the spec as the caller. The API server decides what may change.

        Raises Problem (400, 401, 403, 404, 415), ApiError.
        """
        token = self._authorizer.write_token(request)
        download, body = await self._find(request), await parse_body(ChangeRequest, request)
        _check_spec(body.spec)
        change = {"metadata": {"uid": download.uid}, "spec": body.spec}
        path = object_path(download.namespace, download.name) + _STRICT
        document = await self._api.patch(path, change, token=token)
        self._record_write(document)
        changed = parse(document)
        position = self._board.queue_position(changed.uid)
        return json_response(Download.of(changed, position, stale=self._board.stale), with_nulls=True)

    async def cancel_download(self, request: web.Request) -> web.Response:
        """Deletes the object as the caller. Raises Problem (401, 403, 404), ApiError."""
        token = self._authorizer.write_token(request)
        download = await self._find(request)
        precondition = {"preconditions": {"uid": download.uid}}
        await self._api.delete(object_path(download.namespace, download.name), precondition, token=token)
        return json_response(Deleting(download_id=download.uid), status=202)

    def _accepted(self, download: ModelDownload) -> web.Response:
        """202 for a download that has started; 200 with the path for a model that is ready."""
        ready, model = download.status.ready, download.status.model
        document = Accepted(
            download_id=download.uid,
            status="complete" if ready else "started",
            namespace=download.namespace,
            name=download.name,
            state=state_of(download),
            path=model.path if ready and model else None,
            projector=model.projector_path if ready and model else None,
        )
        location = f"{self._base}/v1/models/downloads/{download.uid}"
        return json_response(document, 200 if ready else 202, {"Location": location})

    def _encoded(self, download: ModelDownload) -> bytes:
        position, stale = self._board.queue_position(download.uid), self._board.stale
        return self._board.encoded(
            download.uid,
            "download",
            (position, stale),
            lambda: Download.of(download, position, stale=stale).model_dump_json().encode(),
        )

    async def _find(self, request: web.Request) -> ModelDownload:
        """The download whose id is in the path, if the caller may read it.

        Raises Problem (400, 401, 403, 404), ApiError.
        """
        query = parse_query(Scoped, request)
        download = self._board.get(request.match_info["id"])
        namespace = download.namespace if download else query.namespace
        readable = await self._authorizer.readable_namespace(request, "list", namespace)
        if download is None or readable not in {None, download.namespace}:
            raise Problem(404, "NotFound", f"there is no download {request.match_info['id']}")
        return download


def _differing(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The fields of `wanted` that differ. They are parsed first, because a quantity may be spelt in two ways.

    An endpoint that is not wanted differs too: the same ref at another hub is another model.
    """
    current = parse_spec(existing)
    if same_endpoint(current.endpoint or "", str(wanted.get("endpoint") or "")):
        wanted = {key: value for key, value in wanted.items() if key != "endpoint"}
    else:
        wanted = {"endpoint": None, **wanted}
    return sorted(key for key in wanted if parse_spec({**existing, key: wanted[key]}) != current)


def _check_spec(spec: Mapping[str, Any]) -> None:
    """Raises Problem (400)."""
    if "modelRef" in spec:
        raise Problem(400, "InvalidRequest", "spec.modelRef: another model is another download")


def _being_deleted(namespace: str, name: str) -> Problem:
    detail = f"{namespace}/{name} is being deleted; ask again when it is gone"
    return Problem(409, "BeingDeleted", detail, headers=_RETRY_AFTER)
