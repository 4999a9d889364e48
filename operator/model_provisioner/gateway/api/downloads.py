"""`/v1/models/download` and `/v1/models/downloads`: start, list, look at and cancel downloads.

Reads come from the board; writes go to the API server with the caller's own token.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from model_provisioner.domain.annotations import RECONCILE_AT
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.refs.object_names import object_name
from model_provisioner.domain.refs.refs import parse_lenient
from model_provisioner.domain.stream import has_ended, state_of
from model_provisioner.gateway.access import Access
from model_provisioner.gateway.api.documents import (
    Accepted,
    ChangeRequest,
    Deleting,
    Details,
    Download,
    DownloadRequest,
    DownloadsQuery,
    EventDetail,
    Scoped,
)
from model_provisioner.gateway.api.lists import listing
from model_provisioner.gateway.api.request_parsing import answer, body, query
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.problems import Problem
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import API_VERSION, KIND, collection_path, object_path, parse, parse_spec

_NOT_ALLOWED = frozenset({401, 403})
_RETRY_AFTER = {"Retry-After": "5"}
_STRICT = "?fieldValidation=Strict"  # else the API server drops a misspelt field and says nothing


class Downloads:
    """`watched` are the namespaces that are served; empty means all. `learn` is told what a write has answered;
    `base` is the path below which all this is served.
    """

    def __init__(
        self,
        api: KubeApi,
        board: Board,
        access: Access,
        learn: Callable[[dict[str, Any]], None],
        default_namespace: str,
        watched: Sequence[str],
        base: str = "",
    ) -> None:
        self._api = api
        self._board = board
        self._access = access
        self._learn = learn
        self._default_namespace = default_namespace
        self._watched = watched
        self._base = base

    def handlers(self) -> dict[str, Handler]:
        """By operation id, see `calls`."""
        return {
            "startDownload": self.start,
            "listDownloads": self.index,
            "getDownload": self.show,
            "describeDownload": self.describe,
            "changeDownload": self.change,
            "cancelDownload": self.cancel,
        }

    async def start(self, request: web.Request) -> web.Response:
        """Creates the object as the caller; the same ref again meets the same object."""
        token = self._access.writer(request)
        scoped, wanted = query(Scoped, request), await body(DownloadRequest, request)
        ref = parse_lenient(wanted.model_ref)
        namespace = wanted.namespace or scoped.namespace or self._default_namespace
        name = wanted.name or object_name(ref)
        if self._watched and namespace not in self._watched:
            served = ", ".join(self._watched)
            raise Problem(400, "InvalidRequest", f"namespace: {namespace} is not served here, only {served}")
        _check_spec(wanted.spec)
        spec = {**wanted.spec, "modelRef": str(ref)}
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
        self._learn(created)  # so that its Location can be asked for at once
        return self._accepted(parse(created))

    async def _join(self, namespace: str, name: str, spec: Mapping[str, Any], token: str | None) -> web.Response:
        """The object is there: the same download if it wants the same, and tried again if it has given up."""
        path = object_path(namespace, name)
        try:
            document = await self._api.get(path, token=token)
        except ApiError as error:
            raise _being_deleted(namespace, name) if error.is_not_found else error from None
        found = parse(document)
        if found.deleting:
            raise _being_deleted(namespace, name)
        differing = _differing(document["spec"], spec)
        if differing:
            detail = f"{namespace}/{name} exists with another {', '.join(differing)}: delete it, or choose another name"
            raise Problem(409, "AlreadyExists", detail, more={"download_id": found.uid, "differing": differing})
        if found.status.stalled and not found.status.ready:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            await self._api.patch(path, {"metadata": {"annotations": {RECONCILE_AT: now}}}, token=token)
        return self._accepted(found)

    async def index(self, request: web.Request) -> web.Response:
        """The active ones; `?all=true` for those that have ended too."""
        wanted = query(DownloadsQuery, request)
        scope = await self._access.readable(request, "list", wanted.namespace)
        chosen = [one for one in self._board.all(scope) if wanted.all or not has_ended(one)]
        return listing("downloads", chosen, wanted, self._encoded)

    async def show(self, request: web.Request) -> web.Response:
        return web.Response(body=self._encoded(await self._find(request)), content_type="application/json")

    async def describe(self, request: web.Request) -> web.Response:
        """Conditions from the board, and events as the caller may see them."""
        download = await self._find(request)
        events = await self._events(download, self._access.token(request))
        return answer(Details.of(download, events), complete=True)

    async def _events(self, download: ModelDownload, token: str | None) -> list[EventDetail] | None:
        """Newest first; None where the caller may not list them, or has no token of their own to do it with."""
        if token is None:
            return None
        about = {"fieldSelector": f"involvedObject.uid={download.uid}"}
        try:
            found = await self._api.get(f"/api/v1/namespaces/{download.namespace}/events", about, token=token)
        except ApiError as error:
            if error.status in _NOT_ALLOWED:
                return None
            raise
        events = [EventDetail.of(item) for item in found["items"]]
        return sorted(events, key=lambda event: event.last_seen or "", reverse=True)

    async def change(self, request: web.Request) -> web.Response:
        """Changes the spec as the caller; the API server judges what may be changed."""
        token = self._access.writer(request)
        download, wanted = await self._find(request), await body(ChangeRequest, request)
        _check_spec(wanted.spec)
        change = {"metadata": {"uid": download.uid}, "spec": wanted.spec}
        path = object_path(download.namespace, download.name) + _STRICT
        document = await self._api.patch(path, change, token=token)
        self._learn(document)
        changed = parse(document)
        position = self._board.queue_position(changed.uid)
        return answer(Download.of(changed, position, stale=self._board.stale), complete=True)

    async def cancel(self, request: web.Request) -> web.Response:
        """Deletes the object as the caller, whatever its reclaim policy is."""
        token = self._access.writer(request)
        download = await self._find(request)
        precondition = {"preconditions": {"uid": download.uid}}
        await self._api.delete(object_path(download.namespace, download.name), precondition, token=token)
        return answer(Deleting(download_id=download.uid), status=202)

    def _accepted(self, download: ModelDownload) -> web.Response:
        """202 for what has been started; 200 with the path for what is there."""
        ready, model = download.status.ready, download.status.model
        document = Accepted(
            download_id=download.uid,
            status="complete" if ready else "started",
            namespace=download.namespace,
            name=download.name,
            state=state_of(download),
            path=model.path if ready and model else None,
        )
        location = f"{self._base}/v1/models/downloads/{download.uid}"
        return answer(document, 200 if ready else 202, {"Location": location})

    def _encoded(self, download: ModelDownload) -> bytes:
        position, stale = self._board.queue_position(download.uid), self._board.stale
        return self._board.encoded(
            download.uid,
            "download",
            (position, stale),
            lambda: Download.of(download, position, stale=stale).model_dump_json().encode(),
        )

    async def _find(self, request: web.Request) -> ModelDownload:
        """The download in the path, if the caller may see it."""
        wanted = query(Scoped, request)
        download = self._board.get(request.match_info["id"])
        namespace = download.namespace if download else wanted.namespace
        scope = await self._access.readable(request, "list", namespace)
        if download is None or scope not in {None, download.namespace}:
            raise Problem(404, "NotFound", f"there is no download {request.match_info['id']}")
        return download


def _differing(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The fields in which `wanted` asks for something else; a quantity may be spelt in two ways."""
    now = parse_spec(existing)
    return sorted(key for key in wanted if parse_spec({**existing, key: wanted[key]}) != now)


def _check_spec(spec: Mapping[str, Any]) -> None:
    if "modelRef" in spec:
        raise Problem(400, "InvalidRequest", "spec.modelRef: another model is another download")


def _being_deleted(namespace: str, name: str) -> Problem:
    detail = f"{namespace}/{name} is being deleted; ask again when it is gone"
    return Problem(409, "BeingDeleted", detail, headers=_RETRY_AFTER)
